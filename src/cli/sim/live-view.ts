/**
 * A run as it is watched: a few lines that are redrawn in place on a terminal; on a pipe a line every five seconds, and at each new phase.
 * Not what they say: live-text.ts; and not the end of it: `summaryLines`.
 */

import type { Live } from '#device-sim/index.ts'
import type { Point } from '#wire/simulation-report.ts'
import type { Io } from '../io.ts'
import { clean } from '../output.ts'
import { canRedraw, createScreen, hasColours } from '../up/screen.ts'
import { lineOf, renderLive } from './live-text.ts'

const LINE_EVERY = 5_000
/** seconds that are remembered, for the little graphs */
const HISTORY = 30

export type LiveView = Disposable & {
  draw(live: Live): void
  /** a sentence above the view, or among the lines */
  note(text: string): void
}

/** @param o.json stdout belongs to a document: a terminal on stderr has the view, notes go there, and a pipe has no lines */
export const createLiveView = (io: Io, o: { readonly json: boolean }): LiveView => {
  const stream = o.json ? io.err : io.out
  const redraws = canRedraw(io, stream)
  const screen = createScreen(stream)
  const recent: Point[] = []
  let shown: Live | undefined
  let said = -Infinity
  let phase = ''
  let ended = false

  const remember = ({ last }: Live): void => {
    if (last === undefined || recent.at(-1)?.at_ms === last.at_ms) return
    recent.push(last)
    if (recent.length > HISTORY) recent.shift()
  }

  const redraw = (live: Live): void => {
    const { columns, rows } = stream
    // what has left the window at its top cannot be drawn over; 0 or nothing: a terminal that does not know its size
    const lines = renderLive(live, recent, { width: columns || 80, colours: hasColours(io) })
    screen.draw(lines.slice(0, Math.max(1, (rows || 24) - 1)))
  }

  const say = (live: Live): void => {
    const now = io.clock()
    if (o.json || (now - said < LINE_EVERY && live.phase.kind === phase)) return
    said = now
    phase = live.phase.kind
    stream.write(`${lineOf(live, recent)}\n`)
  }

  return {
    draw(live) {
      if (ended) return
      shown = live
      remember(live)
      if (redraws) redraw(live)
      else say(live)
    },
    note(text) {
      if (redraws) screen.clear()
      stream.write(`${clean(text)}\n`)
      if (redraws && shown !== undefined && !ended) redraw(shown)
    },
    [Symbol.dispose]() {
      if (redraws && !ended) screen.clear()
      ended = true
    },
  }
}
