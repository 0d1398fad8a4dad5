/**
 * What many processes measured, as one: totals since the beginning, and a series of points. Streaming: a histogram for each measure, and a few seconds
 * with theirs, however long a run is. Not the measuring: measuring.ts; not a verdict: generator.ts.
 */

import type { SimulationReport } from '#wire/simulation-report.ts'
import { byDoor } from './counts.ts'
import { createHistogram, decodeHistogram, type Decoded, type Histogram, type Ranked } from './histograms.ts'
import { COUNTERS, MEASURES, type Counter, type Measure, type Sample } from './measures.ts'
import { missingOf } from './missing.ts'
import { createSeries, type SeriesPoint } from './series.ts'
import { createTextCounts } from './texts.ts'
import { worstOf, type TopicTrouble } from './topics.ts'

export type Totals = {
  /** @param part whose it is. @returns its histograms, decoded */
  add(part: number, sample: Sample): readonly (readonly [string, Decoded])[]
  /** The load begins, after a gathering: handshakes count from here on. @param at ms since the epoch */
  started(at: number): void
  /** since the beginning */
  totals(): Pick<SimulationReport, 'measures' | 'counts' | 'refused' | 'errors'>
  /** of each measure, with those that are missing behind the others */
  ranked(): Record<string, Ranked>
  histograms(): SimulationReport['histograms']
  /** of what the parts have said at their end */
  topics(): TopicTrouble[]
  /** Growing; no point where nobody sampled. `at_ms` counts from `startsAt`: not above 0 for what was before. */
  points(startsAt: number): SeriesPoint[]
  /** the newest that every part has told of which still samples; undefined: none yet */
  last(startsAt: number): SeriesPoint | undefined
}

/** different refusals, and errors, of a whole run */
const MOST_TEXTS = 500
/** of every connection: those of the enrolment would hide those of the doors */
const ANEW: readonly Measure[] = ['tcp', 'handshake']

export const createTotals = (load: 'open' | 'closed' = 'closed'): Totals => {
  const counts: Partial<Record<Counter, number>> = {}
  const histograms = new Map<string, Histogram>()
  const refused = createTextCounts(MOST_TEXTS)
  const errors = createTextCounts(MOST_TEXTS)
  const series = createSeries()
  let topics: TopicTrouble[] = []
  let zero = -Infinity

  const ofEach = <T>(of: (histogram: Histogram, missing: number) => T): Record<string, T> => {
    const missing = missingOf(load, { counts, errors: byDoor(errors.counts()) })
    return Object.fromEntries(
      (Object.keys(MEASURES) as Measure[]).flatMap((name) => {
        const histogram = histograms.get(name)
        return histogram === undefined ? [] : [[name, of(histogram, missing[name] ?? 0)]]
      }),
    )
  }

  return {
    add(part, sample) {
      for (const name of COUNTERS) {
        const count = sample.counts[name]
        if (count !== undefined) counts[name] = (counts[name] ?? 0) + count
      }
      refused.merge(sample.refused)
      errors.merge(sample.errors)
      const decoded = Object.entries(sample.histograms).map(
        ([name, encoded]) => [name, decodeHistogram(encoded)] as const,
      )
      for (const [name, those] of decoded) {
        // of the gathering, told after it
        if (sample.at <= zero && ANEW.includes(name as Measure)) continue
        const all = histograms.get(name) ?? createHistogram()
        histograms.set(name, all)
        all.add(those)
      }
      if (sample.topics !== undefined) topics = worstOf([...topics, ...sample.topics])
      series.add(part, sample, decoded)
      return decoded
    },
    started(at) {
      zero = at
      series.started(at)
      for (const name of ANEW) histograms.delete(name)
    },
    totals: () => ({
      measures: ofEach((histogram, missing) => histogram.latency(missing)),
      counts: { ...counts },
      refused: byDoor(refused.counts()),
      errors: byDoor(errors.counts()),
    }),
    ranked: () => ofEach((histogram, missing) => histogram.ranked(missing)),
    histograms: () => ofEach((histogram) => histogram.buckets()),
    topics: () => topics,
    points: series.points,
    last: series.last,
  }
}
