/** The world as a command sees it, as one argument, so that a test can hand it another. Not a logger: commands print, desks log. */

import { systemClock, type Clock } from '#fleet/clock.ts'

export type Stream = {
  write(text: string): unknown
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

export type Io = {
  readonly out: Stream
  readonly err: Stream
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly clock: Clock
  /** From here on the command goes on when nobody reads what it says: what it is run for is its exit code, or what it does. */
  goOnUnread(): void
}

export const processIo = (goOnUnread: () => void): Io => ({
  out: process.stdout,
  err: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
  goOnUnread,
})
