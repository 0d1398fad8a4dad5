/**
 * How long things took, in an HdrHistogram: whole µs from 1 µs to 1 h, three significant digits. 95 KB each, however much is recorded. Not what is
 * measured: measures.ts. Counters of 32 bits, for the packed form needs ten times the CPU and the WebAssembly one does not grow less.
 */

import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type JsHistogram,
} from 'hdr-histogram-js'
import type { Latency, SimulationReport } from '#wire/simulation-report.ts'

export type Bucket = SimulationReport['histograms'][string][number]
/** Of a point of the series. */
export type Brief = SimulationReport['series'][number]['measures'][string]

export type Histogram = {
  /** what is not between 1 µs and 1 h counts as the one or the other */
  record(millis: number): void
  /** what was recorded since the last take: HdrHistogram V2, compressed, base64; undefined: nothing */
  take(): string | undefined
  add(other: Decoded): void
  /** @param missing what was never measured; only said beside the figures, which are of what was */
  latency(missing?: number): Latency
  /** The same with the missing ones behind all that were measured: Infinity where a rank is among them. */
  ranked(missing: number): Ranked
  brief(): Brief
  /** at most 120, side by side without a hole, growing by the same factor */
  buckets(): Bucket[]
}

/** What a threshold is held against. */
export type Ranked = Pick<Latency, 'min' | 'mean' | 'p50' | 'p90' | 'p99' | 'p999' | 'max'>

/** One that was taken, of this process or another. */
export type Decoded = JsHistogram

const MICROS = 1_000
const LONGEST = 3_600_000 * MICROS
const BITS = 32
/** buckets of a decade, the finest first that makes not too many: an hour in µs is less than ten decades */
const STEPS = [40, 20] as const
const COARSEST = 12
const MOST_BUCKETS = 120

/** @param encoded by {@link Histogram.take} */
export const decodeHistogram = (encoded: string): Decoded =>
  decodeFromCompressedBase64(encoded, BITS) as JsHistogram

const fresh = (): JsHistogram =>
  build({
    bitBucketSize: BITS,
    autoResize: false,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST,
    numberOfSignificantValueDigits: 3,
  }) as JsHistogram

/** Its values that occurred, growing: the middle of what counts as the same, in ms. */
const eachValue = (h: JsHistogram, visit: (millis: number, count: number) => void): void => {
  if (h.totalCount === 0) return
  const end = h.countsArrayIndex(h.maxValue)
  for (let at = 0; at <= end; at++) {
    const count = h.getCountAtIndex(at)
    if (count > 0) visit(h.medianEquivalentValue(h.valueFromIndex(at)) / MICROS, count)
  }
}

/** p50, p90, p99, p99.9 */
const SHARES = [0.5, 0.9, 0.99, 0.999] as const

/** In one pass: the library's own walks all of the array for each percentile. @param missing come after all others */
const rankedOf = (h: JsHistogram, missing: number): Ranked => {
  const count = h.totalCount
  if (count === 0) return { min: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 }
  const min = h.minNonZeroValue / MICROS
  const max = Math.min(h.maxValue, LONGEST) / MICROS
  // the tiny bit less: 0.999 × 1,000 is not quite 999
  const ranks = SHARES.map((share) => Math.ceil(share * (count + missing) - 1e-6))
  const found: number[] = []
  let seen = 0
  let sum = 0
  eachValue(h, (millis, times) => {
    seen += times
    sum += millis * times
    const within = Math.min(Math.max(millis, min), max)
    while (found.length < ranks.length && seen >= Number(ranks[found.length])) found.push(within)
  })
  const beyond = missing > 0 ? Infinity : max
  const [p50 = beyond, p90 = beyond, p99 = beyond, p999 = beyond] = found
  return { min, mean: missing > 0 ? Infinity : sum / count, p50, p90, p99, p999, max: beyond }
}

export const p99Of = (h: Decoded): number | undefined => (h.totalCount === 0 ? undefined : rankedOf(h, 0).p99)

const bucketsOf = (h: JsHistogram): Bucket[] => {
  if (h.totalCount === 0) return []
  const slotOf = (millis: number, steps: number): number => Math.floor(Math.log10(millis) * steps + 1e-9)
  const ends = (steps: number): [number, number] => [
    slotOf(h.lowestEquivalentValue(h.minNonZeroValue) / MICROS, steps),
    slotOf(h.highestEquivalentValue(h.maxValue) / MICROS, steps),
  ]
  const fits = (steps: number): boolean => {
    const [first, last] = ends(steps)
    return last - first < MOST_BUCKETS
  }
  const steps = STEPS.find(fits) ?? COARSEST
  const [first, last] = ends(steps)
  const edge = (slot: number): number => Number((10 ** (slot / steps)).toPrecision(6))
  const counts = Array.from({ length: last - first + 1 }, () => 0)
  eachValue(h, (millis, count) => {
    const slot = Math.min(Math.max(slotOf(millis, steps), first), last) - first
    counts[slot] = Number(counts[slot]) + count
  })
  return counts.map((count, at) => ({ from: edge(first + at), to: edge(first + at + 1), count }))
}

export const createHistogram = (): Histogram => {
  const h = fresh()
  return {
    record(millis) {
      const micros = Math.round(millis * MICROS)
      // NaN too: a clock that was set is no reason to end a run
      h.recordValue(micros >= 1 ? Math.min(micros, LONGEST) : 1)
    },
    take() {
      if (h.totalCount === 0) return undefined
      const encoded = encodeIntoCompressedBase64(h)
      h.reset()
      return encoded
    },
    add: (other) => h.add(other),
    latency: (missing = 0) => ({ count: h.totalCount, missing, ...rankedOf(h, 0) }),
    ranked: (missing) => rankedOf(h, missing),
    brief() {
      const { p50, p99, max } = rankedOf(h, 0)
      return { count: h.totalCount, p50, p50_low: p50, p99, max }
    },
    buckets: () => bucketsOf(h),
  }
}
