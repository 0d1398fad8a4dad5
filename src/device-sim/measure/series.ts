/**
 * What many processes measured, second by second: their samples of one second are one point. All of them sample at the same moments, so a second is known
 * by its end. Bounded: the last few seconds are kept with their histograms, for some processes are late; of what is older a few figures
 * stay, and beyond an hour two points become one, which says how long it is.
 */

import { SECOND } from '#fleet/clock.ts'
import type { Point } from '#wire/simulation-report.ts'
import { byDoor, sumCounts, total, type Counts } from './counts.ts'
import { createHistogram, type Brief, type Decoded, type Histogram } from './histograms.ts'
import type { Sample } from './measures.ts'
import { createTextCounts } from './texts.ts'

/** Without what was measured beside it. */
export type SeriesPoint = Omit<Point, 'servers'>
type Gauges = Pick<Sample, 'devices' | 'connected' | 'underWay'>

export type Series = {
  /** @param decoded the histograms of `sample` */
  add(part: number, sample: Sample, decoded: readonly (readonly [string, Decoded])[]): void
  /** @param at ms since the epoch: what is before and what is after is never one point */
  started(at: number): void
  /** Growing, at most 3,600, without overlap; none where nobody sampled. `at_ms` counts from `startsAt`. */
  points(startsAt: number): SeriesPoint[]
  /** the newest second that every part has told of which still samples */
  last(startsAt: number): SeriesPoint | undefined
}

/** ms that wait for the samples of others; what comes later still counts as of the first that waits */
const WAITING = 3 * SECOND
const MOST_POINTS = 3_600
/** different refusals of one point */
const MOST_TEXTS = 50

type Figures = Omit<SeriesPoint, 'at_ms' | 'span_ms'>
/** ms since the epoch. `key`: the end of the second that it is of; `to`: where it really ends */
type Closed = { readonly key: number; readonly from: number; readonly to: number; readonly figures: Figures }

type Open = {
  from: number
  to: number
  readonly counts: Counts[]
  readonly refused: Counts[]
  readonly errors: Counts[]
  readonly histograms: Map<string, Histogram>
  readonly gauges: Map<number, Gauges>
  utilisation: number
  lag: number
}

const created = (): Open => ({
  from: Infinity,
  to: -Infinity,
  counts: [],
  refused: [],
  errors: [],
  histograms: new Map(),
  gauges: new Map(),
  utilisation: 0,
  lag: 0,
})

/** What is left over at the end is of the second before, when it is less than half of one. */
const keyOf = ({ from, at, last }: Sample): number =>
  last ? (at - from < SECOND / 2 ? from : from + SECOND) : at

const bounded = (many: readonly Counts[]): Record<string, number> => {
  const texts = createTextCounts(MOST_TEXTS)
  for (const counts of many) texts.merge(counts)
  return texts.counts()
}
const ofDoors = (many: readonly Counts[]): Record<string, number> =>
  Object.fromEntries(Object.entries(byDoor(bounded(many))).map(([door, said]) => [door, total(said)]))

/** Percentiles cannot be made one: between which two the medians were, and the greater one of the others. */
const together = (a: Brief, b: Brief): Brief => ({
  count: a.count + b.count,
  p50: Math.max(a.p50, b.p50),
  p50_low: Math.min(a.p50_low, b.p50_low),
  p99: Math.max(a.p99, b.p99),
  max: Math.max(a.max, b.max),
})

const merged = (a: Closed, b: Closed): Closed => {
  const measures = new Map(Object.entries(a.figures.measures))
  for (const [name, brief] of Object.entries(b.figures.measures)) {
    const other = measures.get(name)
    measures.set(name, other === undefined ? brief : together(other, brief))
  }
  return {
    key: b.key,
    from: a.from,
    to: b.to,
    figures: {
      ...b.figures,
      counts: sumCounts([a.figures.counts, b.figures.counts]),
      refused: bounded([a.figures.refused, b.figures.refused]),
      errors: sumCounts([a.figures.errors, b.figures.errors]),
      measures: Object.fromEntries(measures),
      generator: {
        utilisation: Math.max(a.figures.generator.utilisation, b.figures.generator.utilisation),
        lag_ms: Math.max(a.figures.generator.lag_ms, b.figures.generator.lag_ms),
      },
    },
  }
}

/** One point for each `width` seconds, counted from `zero`. */
const compacted = (points: readonly Closed[], width: number, zero: number): Closed[] => {
  if (width === 1) return [...points]
  const group = ({ key }: Closed): number => Math.ceil((key - zero) / (width * SECOND))
  const result: Closed[] = []
  for (const point of points) {
    const before = result.at(-1)
    if (before === undefined || group(before) !== group(point)) result.push(point)
    else result[result.length - 1] = merged(before, point)
  }
  return result
}

const shown = (points: readonly Closed[], startsAt: number): SeriesPoint[] => {
  let before = -Infinity
  return points.map(({ from, to, figures }) => {
    const at_ms = Math.round(to - startsAt)
    const span_ms = Math.max(0, at_ms - Math.max(before, Math.round(from - startsAt)))
    before = at_ms
    return { at_ms, span_ms, ...figures }
  })
}

export const createSeries = (): Series => {
  /** by key */
  const open = new Map<number, Open>()
  /** of each part that still samples, its newest key */
  const reached = new Map<number, number>()
  /** of the others, their last one */
  const ended = new Map<number, number>()
  /** of each part, as it last said in what is closed */
  const gauges = new Map<number, Gauges>()
  let closed: Closed[] = []
  let newestClosed: Closed | undefined
  let width = 1
  let zero = 0

  const openAt = (key: number): Open => {
    const upTo = newestClosed?.key ?? -Infinity
    const at = key > upTo ? key : Math.min(upTo + SECOND, ...open.keys())
    const here = open.get(at) ?? created()
    open.set(at, here)
    return here
  }

  /** @param known of the parts, as they were before; is brought up to date */
  const closedOf = (key: number, o: Open, known: Map<number, Gauges>): Closed => {
    for (const [part, those] of o.gauges) known.set(part, those)
    for (const [part, lastKey] of ended) if (lastKey < key) known.delete(part)
    const sum = (name: keyof Gauges): number => known.values().reduce((all, those) => all + those[name], 0)
    const figures: Figures = {
      devices: sum('devices'),
      connected: sum('connected'),
      under_way: sum('underWay'),
      counts: sumCounts(o.counts),
      refused: bounded(o.refused),
      errors: ofDoors(o.errors),
      measures: Object.fromEntries(
        Array.from(o.histograms, ([name, histogram]) => [name, histogram.brief()]),
      ),
      generator: { utilisation: o.utilisation, lag_ms: o.lag },
    }
    return { key, from: o.from, to: Math.max(o.to, o.from), figures }
  }
  const waiting = (): [number, Open][] => [...open].toSorted(([a], [b]) => a - b)

  const close = (newest: number): void => {
    for (const [key, o] of waiting()) {
      if (key > newest - WAITING) return
      open.delete(key)
      newestClosed = closedOf(key, o, gauges)
      // the last one may be of the same few seconds
      closed.push(...compacted([...closed.splice(-1), newestClosed], width, zero))
    }
  }
  const stillOpen = (): Closed[] => {
    const known = new Map(gauges)
    return waiting().map(([key, o]) => closedOf(key, o, known))
  }

  return {
    add(part, sample, decoded) {
      const key = keyOf(sample)
      if (sample.last) {
        reached.delete(part)
        ended.set(part, key)
      } else reached.set(part, key)
      const here = openAt(key)
      here.from = Math.min(here.from, sample.from)
      here.to = Math.max(here.to, sample.at)
      here.counts.push(sample.counts as Counts)
      here.refused.push(sample.refused)
      here.errors.push(sample.errors)
      for (const [name, histogram] of decoded) {
        const there = here.histograms.get(name) ?? createHistogram()
        here.histograms.set(name, there)
        there.add(histogram)
      }
      const { devices, connected, underWay } = sample
      here.gauges.set(part, { devices, connected, underWay })
      here.utilisation = Math.max(here.utilisation, sample.generator.utilisation)
      here.lag = Math.max(here.lag, sample.generator.lag)
      close(key)
      if (closed.length > MOST_POINTS - WAITING / SECOND - 1) {
        width *= 2
        closed = compacted(closed, width, zero)
      }
    },
    started(at) {
      zero = at
    },
    points: (startsAt) => shown(compacted([...closed, ...stillOpen()], width, zero), startsAt),
    last(startsAt) {
      const whole = Math.min(Infinity, ...reached.values())
      const newest = stillOpen().findLast(({ key }) => key <= whole) ?? newestClosed
      return newest === undefined ? undefined : shown([newest], startsAt)[0]
    },
  }
}
