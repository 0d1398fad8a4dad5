/**
 * What `up` shows while it runs: a few live lines below the text on a terminal; on a pipe the desks' log lines on stderr and a
 * summary now and then. Not what is counted (tally.ts) and not how it looks (view.ts).
 */

import type { FleetEvent } from '#device-sim/index.ts'
import { SECOND } from '#fleet/clock.ts'
import type { Io } from '../io.ts'
import { printLines } from '../output.ts'
import { readLogFile } from './log-file.ts'
import { canRedraw, createScreen, hasColours } from './screen.ts'
import type { Stack } from './stack.ts'
import { createTally } from './tally.ts'
import { render, summary } from './view.ts'

const EVERY = 250
const SUMMARY_EVERY = 30 * SECOND

const SIMULATED = /^sim-[a-z0-9]+(\.\d{1,4})?-\d+$/

export type Show = Disposable & {
  fleet(event: FleetEvent): void
  /** prints the text, and goes on below it */
  start(text: readonly string[]): void
}

/** @param o.quiet nothing on stdout: it belongs to a document. The desks' lines still go to stderr. */
export const showing = (o: {
  readonly io: Io
  readonly stack: Stack
  readonly devices: number
  readonly quiet: boolean
}): Show => {
  const { io, stack } = o
  const live = canRedraw(io, io.out) && !o.quiet
  const screen = createScreen(io.out)
  const tally = createTally(o.devices, (name) => SIMULATED.test(name))
  const readers = stack.desks.map(({ logPath, logFrom }) => readLogFile(logPath, logFrom, { turns: true }))
  const began = io.clock()
  let started = false
  let ticked = began
  let summed = began
  let before = ''

  const look = (): void => {
    for (const line of readers.flatMap((reader) => reader.read())) {
      tally.line(line, io.clock())
      if (!live) io.err.write(`${line}\n`)
    }
    for (; io.clock() - ticked >= SECOND; ticked += SECOND) tally.tick()
  }

  const draw = (): void => {
    const { columns: width = 80, rows = 24 } = io.out
    // what has left the window at its top cannot be drawn over
    const lines = render(tally.figures(), {
      up: io.clock() - began,
      width,
      colours: hasColours(io),
    }).slice(0, Math.max(1, rows - 1))
    const now = lines.join('\n')
    if (now !== before) screen.draw(lines)
    before = now
  }

  const timer = setInterval(() => {
    look()
    if (!started || o.quiet) return
    if (live) draw()
    else if (io.clock() - summed >= SUMMARY_EVERY) {
      summed += SUMMARY_EVERY
      printLines(io, [summary(tally.figures(), io.clock() - began)])
    }
  }, EVERY)
  // it shows what others do; by itself it is no reason to go on
  timer.unref()

  return {
    fleet: (event) => {
      tally.fleet(event)
    },
    start(text) {
      printLines(io, text)
      started = true
      if (live) draw()
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      look()
      if (live) screen.clear()
      if (started && !o.quiet) printLines(io, [summary(tally.figures(), io.clock() - began)])
      for (const reader of readers) reader[Symbol.dispose]()
    },
  }
}
