/**
 * What many processes measured, as one: totals since the beginning, and a series of points. Streaming: a histogram for each measure, and four seconds
 * with theirs, however long a run is. Not the measuring: measuring.ts; not a verdict: generator.ts.
 */

import type { SimulationReport } from '#wire/simulation-report.ts'
import { createHistogram, decodeHistogram, type Histogram } from './histograms.ts'
import { COUNTERS, MEASURES, type Counter, type Sample } from './measures.ts'
import { createSeries, type SeriesPoint } from './series.ts'
import { byDoor, createTextCounts } from './texts.ts'

export type Totals = {
  /** @param part whose it is */
  add(part: number, sample: Sample): void
  /** since the beginning */
  totals(): Pick<SimulationReport, 'measures' | 'counts' | 'refused' | 'errors'>
  histograms(): SimulationReport['histograms']
  /** Growing; no point where nobody sampled. `at_ms` counts from `startsAt`: not above 0 for what was before. */
  points(startsAt: number): SeriesPoint[]
  /** the newest that every part has told of; undefined: none yet */
  last(startsAt: number): SeriesPoint | undefined
}

/** different refusals, and errors, of a whole run */
const MOST_TEXTS = 500

export const createTotals = (): Totals => {
  const counts: Partial<Record<Counter, number>> = {}
  const histograms = new Map<string, Histogram>()
  const refused = createTextCounts(MOST_TEXTS)
  const errors = createTextCounts(MOST_TEXTS)
  const series = createSeries()

  const ofEach = <T>(of: (histogram: Histogram) => T): Record<string, T> =>
    Object.fromEntries(
      Object.keys(MEASURES).flatMap((name) => {
        const histogram = histograms.get(name)
        return histogram === undefined ? [] : [[name, of(histogram)]]
      }),
    )

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
        const all = histograms.get(name) ?? createHistogram()
        histograms.set(name, all)
        all.add(those)
      }
      series.add(part, sample, decoded)
    },
    totals: () => ({
      measures: ofEach((histogram) => histogram.latency()),
      counts: { ...counts },
      refused: byDoor(refused.counts()),
      errors: byDoor(errors.counts()),
    }),
    histograms: () => ofEach((histogram) => histogram.buckets()),
    points: series.points,
    last: series.last,
  }
}
