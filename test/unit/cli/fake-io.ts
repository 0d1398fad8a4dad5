/** An {@link Io} that keeps what was written. Not a terminal. */

import type { Io } from '#cli/io.ts'

export type FakeIo = Io & { stdout(): string; stderr(): string }

export const fakeIo = (o: { env?: Io['env']; cwd?: string; now?: number } = {}): FakeIo => {
  const out: string[] = []
  const err: string[] = []
  return {
    out: { write: (text) => out.push(text) },
    err: { write: (text) => err.push(text) },
    env: o.env ?? {},
    cwd: o.cwd ?? '/',
    clock: () => o.now ?? 0,
    goOnUnread: () => {},
    stdout: () => out.join(''),
    stderr: () => err.join(''),
  }
}
