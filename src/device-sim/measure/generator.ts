/**
 * Was the load generator the bottleneck? From what its processes say of themselves (own-load.ts), and whether that was enough to matter. One judge for
 * the gathering and another for the load: what making keys does to a process says nothing of the requests that come after it.
 *
 * Bound is a generator of which a process had no time to itself, was late itself by much of what it measured, or began turns late: what it
 * measured is in part its own delay. A slow server does not bind it: its turns are begun when they are due, and wait. When so many wait that
 * no more may be begun, turns are dropped: then the server, or the limit, held the load back. That is said and is no verdict: in every rank
 * they come last (missing.ts).
 */

import { p99Of, type Decoded } from './histograms.ts'
import type { GeneratorSample, Measure, Sample } from './measures.ts'

export type GeneratorVerdict = { readonly bound: boolean; readonly reasons: string[] }
export type GeneratorFigures = {
  /** seconds of CPU, all parts and the coordinator */
  readonly cpu: number
  /** ms */
  readonly worstLag: number
  /** bytes, all parts and the coordinator, at their highest */
  readonly peakRss: number
  readonly late: number
  readonly dropped: number
}

export type Generator = {
  /** @param decoded the histograms of `sample` */
  add(part: number, sample: Sample, decoded: readonly (readonly [string, Decoded])[]): void
  /** Of the process that holds the parts together, where that is one of its own: nothing of the fleet is measured in it. */
  addCoordinator(own: GeneratorSample): void
  /** of all samples of parts so far */
  verdict(): GeneratorVerdict
  /** Of the coordinator's: in it drills and probes run, and from it faults are commanded. */
  coordinator(): GeneratorVerdict
  figures(): GeneratorFigures
}

/** of an event loop */
const BUSY = 0.95
/** busy samples in a row, which are about seconds */
const BUSY_IN_A_ROW = 3
/** ms; and of the 99th percentile of that second. Less than either moves no figure that anybody looks at */
const LAGGING = 50
const SHARE_OF_LATENCY = 0.5
/** ms; of the coordinator: a good part of the shortest time that a drill gives an answer */
const COORDINATOR_LAGGING = 250
/** of the samples of a part; one alone is a hiccup, such as the first of a process */
const SHARE_LAGGING = 0.1
const SHARE_OF_TURNS = 0.01

/** What is judged by thresholds; the fastest of them is disturbed first. */
const LATENCIES: readonly Measure[] = ['https', 'publish', 'connect', 'enroll']

type Part = {
  samples: number
  row: number
  longestRow: number
  lagging: number
  rss: number
}

const LATE = `more than ${LAGGING} ms, and by more than half of the p99 that it measured`

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`

const newPart = (): Part => ({ samples: 0, row: 0, longestRow: 0, lagging: 0, rss: 0 })

/** @param least seconds with late timers: one alone is a hiccup */
const reasonsOf = (name: string, part: Part, late: string, least: number): string[] => {
  const reasons: string[] = []
  if (part.longestRow >= BUSY_IN_A_ROW)
    reasons.push(
      `${name}: its event loop was busy for more than ${BUSY * 100} % of ${part.longestRow} seconds in a row`,
    )
  if (part.lagging > 0 && part.lagging >= Math.max(least, part.samples * SHARE_LAGGING))
    reasons.push(`${name}: its timers were late by ${late}, in ${part.lagging} of ${part.samples} seconds`)
  return reasons
}

/** Late by enough to be seen in what was measured; where nothing was, nobody knows. */
const lags = ({ generator: { lag } }: Sample, decoded: readonly (readonly [string, Decoded])[]): boolean => {
  if (lag <= LAGGING) return false
  const found = decoded.flatMap(([name, h]) =>
    LATENCIES.includes(name as Measure) ? [p99Of(h) ?? Infinity] : [],
  )
  return found.length === 0 || lag > Math.min(...found) * SHARE_OF_LATENCY
}

export const createGenerator = (): Generator => {
  const parts = new Map<number, Part>()
  const all = { cpu: 0, lag: 0, rss: 0, due: 0, absent: 0, late: 0, dropped: 0 }

  const coordinator = newPart()
  const count = (part: Part, { utilisation, lag, cpu, rss }: GeneratorSample, isLagging: boolean): void => {
    part.samples++
    part.row = utilisation > BUSY ? part.row + 1 : 0
    part.longestRow = Math.max(part.longestRow, part.row)
    if (isLagging) part.lagging++
    part.rss = rss
    all.cpu += cpu
    all.lag = Math.max(all.lag, lag)
    all.rss = Math.max(
      all.rss,
      [...parts.values(), coordinator].reduce((sum, one) => sum + one.rss, 0),
    )
  }

  return {
    add(number, sample, decoded) {
      const part = parts.get(number) ?? newPart()
      parts.set(number, part)
      count(part, sample.generator, lags(sample, decoded))
      for (const name of ['due', 'absent', 'late', 'dropped'] as const) all[name] += sample.counts[name] ?? 0
    },
    addCoordinator: (own) => count(coordinator, own, own.lag > COORDINATOR_LAGGING),
    coordinator() {
      const reasons = reasonsOf('coordinator', coordinator, `more than ${COORDINATOR_LAGGING} ms`, 2)
      return { bound: reasons.length > 0, reasons }
    },
    verdict() {
      const { late, dropped } = all
      const reasons = [...parts].flatMap(([number, part]) =>
        reasonsOf(`worker ${number + 1}`, part, LATE, Math.min(2, part.samples)),
      )
      const due = Math.max(1, all.due - all.absent)
      if (late > due * SHARE_OF_TURNS)
        reasons.push(`${late} turns (${percent(late / due)}) began more than 10 ms after they were due`)
      const bound = reasons.length > 0
      if (dropped > 0)
        reasons.push(
          `${dropped} turns (${percent(dropped / due)}) were never begun, for too many were under way` +
            (bound
              ? ''
              : ': the load generator had time, so that the server, or the limit of turns under way, held them back; those that were begun look faster than all would have been'),
        )
      return { bound, reasons }
    },
    figures: () => ({
      cpu: all.cpu / 1e6,
      worstLag: all.lag,
      peakRss: all.rss,
      late: all.late,
      dropped: all.dropped,
    }),
  }
}
