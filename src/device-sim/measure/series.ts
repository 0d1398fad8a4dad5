/**
 * What many processes measured, second by second: samples of one second are one point. Bounded: the last few seconds are kept with their histograms, since
 * processes do not sample at the same moment; of what is older a few figures stay, and beyond an hour two points become one.
 */

import { SECOND } from '#fleet/clock.ts'
import type { Point } from '#wire/simulation-report.ts'
import { createHistogram, type Brief, type Decoded, type Histogram } from './histograms.ts'
import type { Sample } from './measures.ts'
import { byDoor, createTextCounts } from './texts.ts'

/** Without what was measured beside it. */
export type SeriesPoint = Omit<Point, 'servers'>
type Gauges = Pick<Sample, 'devices' | 'connected' | 'underWay'>
type Counts = Readonly<Record<string, number>>

export type Series = {
  /** @param decoded the histograms of `sample` */
  add(part: number, sample: Sample, decoded: readonly (readonly [string, Decoded])[]): void
  /** Growing, at most 3,600; none where nobody sampled. `at_ms` counts from `startsAt`. */
  points(startsAt: number): SeriesPoint[]
  /** the newest whole second that every part has told of */
  last(startsAt: number): SeriesPoint | undefined
}

/** seconds that wait for the samples of others; what comes later still counts as of the first that waits */
const WAITING = 3
const MOST_POINTS = 3_600
/** different refusals of one point */
const MOST_TEXTS = 50

/** `second`: since the epoch; a point of several begins with it */
type Closed = { readonly second: number; readonly point: Omit<SeriesPoint, 'at_ms'> }

type Open = {
  readonly counts: Record<string, number>
  readonly refused: Record<string, number>[]
  readonly errors: Record<string, number>[]
  readonly histograms: Map<string, Histogram>
  readonly gauges: Map<number, Gauges>
  utilisation: number
  lag: number
}

/** A sample is of the second before it; one that comes a little late is still of that second. */
const secondOf = (at: number): number => Math.floor((at - SECOND / 2) / SECOND)

const sum = (into: Record<string, number>, counts: Counts): Record<string, number> => {
  for (const [name, count] of Object.entries(counts)) into[name] = (into[name] ?? 0) + count
  return into
}
const bounded = (many: readonly Counts[]): Record<string, number> => {
  const texts = createTextCounts(MOST_TEXTS)
  for (const counts of many) texts.merge(counts)
  return texts.counts()
}
const ofDoors = (many: readonly Counts[]): Record<string, number> =>
  Object.fromEntries(
    Object.entries(byDoor(bounded(many))).map(([door, said]) => [
      door,
      Object.values(said).reduce((total, count) => total + count, 0),
    ]),
  )

/** Percentiles cannot be made one: the median is about in the middle, and of the 99th percentile the greater one is shown. */
const together = (a: Brief, b: Brief): Brief => ({
  count: a.count + b.count,
  p50: (a.p50 * a.count + b.p50 * b.count) / (a.count + b.count),
  p99: Math.max(a.p99, b.p99),
  max: Math.max(a.max, b.max),
})

const merged = (a: Closed['point'], b: Closed['point']): Closed['point'] => {
  const measures = { ...a.measures }
  for (const [name, brief] of Object.entries(b.measures)) {
    const other = measures[name]
    measures[name] = other === undefined ? brief : together(other, brief)
  }
  return {
    devices: b.devices,
    connected: b.connected,
    under_way: b.under_way,
    counts: sum({ ...a.counts }, b.counts),
    refused: bounded([a.refused, b.refused]),
    errors: sum({ ...a.errors }, b.errors),
    measures,
    generator: {
      utilisation: Math.max(a.generator.utilisation, b.generator.utilisation),
      lag_ms: Math.max(a.generator.lag_ms, b.generator.lag_ms),
    },
  }
}

/** One point for each `width` seconds. */
const compacted = (points: readonly Closed[], width: number): Closed[] => {
  const result: Closed[] = []
  for (const { second, point } of points) {
    const begins = Math.floor(second / width) * width
    const before = result.at(-1)
    if (before?.second !== begins) result.push({ second: begins, point })
    else result[result.length - 1] = { second: begins, point: merged(before.point, point) }
  }
  return result
}

export const createSeries = (): Series => {
  const open = new Map<number, Open>()
  const reached = new Map<number, number>()
  /** of each part, as it last said in what is closed */
  const gauges = new Map<number, Gauges>()
  let closed: Closed[] = []
  let closedUpTo = -Infinity
  let width = 1

  const openAt = (second: number): Open => {
    let here = open.get(second)
    if (here === undefined) {
      here = {
        counts: {},
        refused: [],
        errors: [],
        histograms: new Map(),
        gauges: new Map(),
        utilisation: 0,
        lag: 0,
      }
      open.set(second, here)
    }
    return here
  }

  /** @param known of the parts, as they were before; is brought up to date */
  const pointOf = (o: Open, known: Map<number, Gauges>): Closed['point'] => {
    for (const [part, those] of o.gauges) known.set(part, those)
    const total = (name: keyof Gauges): number =>
      Array.from(known.values(), (those) => those[name]).reduce((all, one) => all + one, 0)
    return {
      devices: total('devices'),
      connected: total('connected'),
      under_way: total('underWay'),
      counts: o.counts,
      refused: bounded(o.refused),
      errors: ofDoors(o.errors),
      measures: Object.fromEntries(
        Array.from(o.histograms, ([name, histogram]) => [name, histogram.brief()]),
      ),
      generator: { utilisation: o.utilisation, lag_ms: o.lag },
    }
  }
  const waiting = (): [number, Open][] => [...open].toSorted(([a], [b]) => a - b)

  const close = (newest: number): void => {
    for (const [second, o] of waiting()) {
      if (second > newest - WAITING) return
      open.delete(second)
      closedUpTo = second
      // the last one may be of the same few seconds
      closed.push(...compacted([...closed.splice(-1), { second, point: pointOf(o, gauges) }], width))
    }
  }

  const shown = (points: readonly Closed[], seconds: number, startsAt: number): SeriesPoint[] =>
    points.map(({ second, point }) => ({
      at_ms: Math.round((second + seconds) * SECOND - startsAt),
      ...point,
    }))

  const stillOpen = (): Closed[] => {
    const known = new Map(gauges)
    return waiting().map(([second, o]) => ({ second, point: pointOf(o, known) }))
  }

  return {
    add(part, sample, decoded) {
      const second = Math.max(secondOf(sample.at), closedUpTo + 1)
      reached.set(part, second)
      const here = openAt(second)
      sum(here.counts, sample.counts)
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
      close(second)
      if (closed.length > MOST_POINTS - WAITING) {
        width *= 2
        closed = compacted(closed, width)
      }
    },
    points: (startsAt) => shown(compacted([...closed, ...stillOpen()], width), width, startsAt),
    last(startsAt) {
      const whole = Math.min(...reached.values())
      const newest = stillOpen().findLast(({ second }) => second <= whole)
      return newest === undefined ? undefined : shown([newest], 1, startsAt)[0]
    },
  }
}
