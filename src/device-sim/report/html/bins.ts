/** The points of a run, put together where there are more than can be drawn or read. Not the drawing: chart.ts. */

import type { Point } from '#wire/simulation-report.ts'

/** ms after the start. What its points counted, they counted between the two. */
export type Bin = { readonly from: number; readonly to: number; readonly points: readonly Point[] }

const SECOND = 1_000

/**
 * At most `most` bins of equally many points, without a gap between them: a point counts what happened since the one before, however long
 * that was. Not one second each: a process that was busy says late how it is, and of a long run a point is several seconds.
 */
export const binsOf = (series: readonly Point[], most: number): readonly Bin[] => {
  const size = Math.max(1, Math.ceil(series.length / most))
  const ends = series.map(({ at_ms }) => at_ms)
  const { at_ms = 0, span_ms = SECOND } = series[0] ?? {}
  const begins = [at_ms - Math.max(1, span_ms), ...ends]
  return Array.from({ length: Math.ceil(series.length / size) }, (_, i) => {
    const points = series.slice(i * size, (i + 1) * size)
    return { from: begins[i * size] ?? 0, to: points.at(-1)?.at_ms ?? 0, points }
  })
}

/** A second, of what is counted. */
export const rateOf = ({ from, to, points }: Bin, count: (point: Point) => number): number =>
  (points.reduce((sum, point) => sum + count(point), 0) / Math.max(1, to - from)) * SECOND

/** The highest. */
export const mostOf = ({ points }: Bin, value: (point: Point) => number): number =>
  Math.max(0, ...points.map(value))
