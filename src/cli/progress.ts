/** A progress line on a terminal's stderr; nothing where there is no terminal. Not a result: that goes to stdout. */

import type { Io } from './io.ts'
import { canRedraw, createScreen } from './up/screen.ts'

const WIDTH = 24
/** ms between two drawings. */
const EVERY = 100

export type Progress = Disposable & {
  /** @param done of `total`. @param count how many things that is. @param note at the end of the line */
  at(done: number, count: number, note: string): void
  clear(): void
}

export const createProgress = (io: Io, o: { readonly total: number; readonly what: string }): Progress => {
  const screen = canRedraw(io, io.err) ? createScreen(io.err) : undefined
  const started = io.clock()
  let drawn = 0
  let first: number | undefined
  return {
    at(done, count, note) {
      const now = io.clock()
      first ??= count
      if (screen === undefined || (now - drawn < EVERY && done < o.total)) return
      drawn = now
      const share = o.total === 0 ? 1 : Math.min(1, done / o.total)
      const bar = '█'.repeat(Math.round(share * WIDTH)).padEnd(WIDTH, '░')
      const rate = Math.round(((count - first) * 1_000) / Math.max(1, now - started))
      screen.draw([
        `${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${count} ${o.what}  ${rate}/s  ${note}`,
      ])
    },
    clear() {
      screen?.clear()
    },
    [Symbol.dispose]() {
      screen?.clear()
    },
  }
}
