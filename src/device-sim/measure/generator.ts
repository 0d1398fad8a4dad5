/**
 * Was the load generator the bottleneck? From what its processes say of themselves (own-load.ts), never from how long answers took. One judge for
 * the gathering and another for the load: what making keys does to a process says nothing of the requests that come after it.
 *
 * Bound is a generator of which a process had no time to itself, or was late itself: what it measured is in part its own delay. A slow server
 * does not bind it: its turns are begun when they are due, and wait. When so many wait that no more may be begun, turns are dropped: then the
 * server, or the limit, held the load back. What was measured is true of the turns that were begun, so that is said and is no verdict;
 * but the dropped ones would have been slower, so a percentile is a lower bound.
 */

import type { SimulationReport } from '#wire/simulation-report.ts'
import type { Sample } from './measures.ts'

export type Generator = {
  add(part: number, sample: Sample): void
  /** of all samples so far */
  verdict(): SimulationReport['generator']
}

/** of an event loop */
const BUSY = 0.95
/** busy samples in a row, which are about seconds */
const BUSY_IN_A_ROW = 3
/** ms */
const LAGGING = 50
/** of the samples of a part; one alone is a hiccup, such as the first of a process */
const SHARE_LAGGING = 0.1
const SHARE_OF_TURNS = 0.01

type Part = {
  samples: number
  row: number
  longestRow: number
  lagging: number
  rss: number
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`

const reasonsOf = (name: string, part: Part): string[] => {
  const reasons: string[] = []
  if (part.longestRow >= BUSY_IN_A_ROW)
    reasons.push(
      `${name}: its event loop was busy for more than ${BUSY * 100} % of ${part.longestRow} seconds in a row`,
    )
  if (
    part.lagging >= Math.min(2, part.samples) &&
    part.lagging >= part.samples * SHARE_LAGGING &&
    part.lagging > 0
  )
    reasons.push(
      `${name}: its timers were late by more than ${LAGGING} ms in ${part.lagging} of ${part.samples} seconds`,
    )
  return reasons
}

/** Turns that had an outcome: about as many as were begun. */
const ended = ({ counts, refused, errors }: Sample): number => {
  const total = (texts: Readonly<Record<string, number>>): number =>
    Object.values(texts).reduce((all, one) => all + one, 0)
  return (counts.published ?? 0) + (counts.admitted_https ?? 0) + total(refused) + total(errors)
}

export const createGenerator = (): Generator => {
  const parts = new Map<number, Part>()
  const all = { cpu: 0, lag: 0, rss: 0, late: 0, dropped: 0, ended: 0 }

  return {
    add(number, sample) {
      const { utilisation, lag, cpu, rss } = sample.generator
      const part = parts.get(number) ?? { samples: 0, row: 0, longestRow: 0, lagging: 0, rss: 0 }
      parts.set(number, part)
      part.samples++
      part.row = utilisation > BUSY ? part.row + 1 : 0
      part.longestRow = Math.max(part.longestRow, part.row)
      if (lag > LAGGING) part.lagging++
      part.rss = rss
      all.cpu += cpu
      all.lag = Math.max(all.lag, lag)
      all.rss = Math.max(
        all.rss,
        Array.from(parts.values(), (each) => each.rss).reduce((sum, one) => sum + one, 0),
      )
      all.late += sample.counts.late ?? 0
      all.dropped += sample.counts.dropped ?? 0
      all.ended += ended(sample)
    },
    verdict() {
      const { late, dropped } = all
      const reasons = [...parts].flatMap(([number, part]) => reasonsOf(`worker ${number}`, part))
      const due = Math.max(all.ended, late) + dropped
      if (late > due * SHARE_OF_TURNS)
        reasons.push(`${late} turns (${percent(late / due)}) began more than 10 ms after they were due`)
      const bound = reasons.length > 0
      if (dropped > due * SHARE_OF_TURNS)
        reasons.push(
          `${dropped} turns (${percent(dropped / due)}) were never begun, for too many were under way` +
            (bound
              ? ''
              : ': the load generator had time, so that the server, or the limit of turns under way, held them back; those that were begun look faster than all would have been'),
        )
      return {
        bound,
        reasons,
        cpu_s: all.cpu / 1e6,
        worst_lag_ms: all.lag,
        peak_rss: all.rss,
        late,
        dropped,
      }
    },
  }
}
