import { describe, expect, test } from 'vitest'
import { createHistogram } from '#device-sim/measure/histograms.ts'
import type { Sample } from '#device-sim/measure/measures.ts'
import { createTotals } from '#device-sim/measure/totals.ts'

const START = 1_800_000_000_000
const encoded = (...values: readonly number[]): string => {
  const histogram = createHistogram()
  for (const value of values) histogram.record(value)
  return histogram.take() ?? ''
}
/** @param at ms after the start; of the second before it */
const sample = (at: number, o: Partial<Omit<Sample, 'at' | 'from'>> & { from?: number } = {}): Sample => ({
  counts: {},
  refused: {},
  errors: {},
  histograms: {},
  devices: 0,
  connected: 0,
  underWay: 0,
  generator: { utilisation: 0, lag: 0, cpu: 0, rss: 0 },
  last: false,
  ...o,
  from: START + (o.from ?? at - 1_000),
  at: START + at,
})

describe('totals', () => {
  test('of many parts are one', () => {
    const totals = createTotals()
    totals.add(0, sample(1_000, { counts: { admitted_https: 2 }, histograms: { https: encoded(1, 2) } }))
    totals.add(
      1,
      sample(1_000, {
        counts: { admitted_https: 1, cut: 1 },
        refused: { 'https certificate_revoked': 2, 'mqtt connack_5': 1 },
        errors: { 'mqtt closed: by the other side': 1 },
        histograms: { https: encoded(9) },
      }),
    )
    totals.add(1, sample(2_000, { refused: { 'https certificate_revoked': 1 } }))
    const { measures, ...rest } = totals.totals()
    expect(rest).toEqual({
      counts: { admitted_https: 3, cut: 1 },
      refused: { https: { certificate_revoked: 3 }, mqtt: { connack_5: 1 } },
      errors: { mqtt: { 'closed: by the other side': 1 } },
    })
    expect(Object.keys(measures)).toEqual(['https'])
    expect(measures['https']).toMatchObject({
      count: 3,
      missing: 0,
      p50: expect.closeTo(2, 2),
      max: expect.closeTo(9, 1),
    })
    expect(totals.histograms()['https']?.reduce((sum, { count }) => sum + count, 0)).toBe(3)
  })

  test('are bounded in what servers say', () => {
    const totals = createTotals()
    for (let at = 0; at < 2_000; at++) totals.add(0, sample(at * 10, { errors: { [`https port ${at}`]: 1 } }))
    const { https = {} } = totals.totals().errors
    expect(Object.keys(https).length).toBeLessThanOrEqual(501)
    expect(Object.values(https).reduce((sum, count) => sum + count, 0)).toBe(2_000)
  })

  test('the topics that its parts name, and of all of them the worst', () => {
    const totals = createTotals()
    const topic = (device: string, lost: number) => ({
      device,
      topic: 't',
      lost,
      gaps: 0,
      reordered: 0,
      duplicates: 0,
    })
    totals.add(0, sample(1_000))
    expect(totals.topics()).toEqual([])
    totals.add(
      0,
      sample(2_000, { last: true, topics: Array.from({ length: 10 }, (_, at) => topic(`a${at}`, 20 - at)) }),
    )
    totals.add(1, sample(2_000, { last: true, topics: [topic('b', 15)] }))
    expect(totals.topics()).toHaveLength(10)
    expect(totals.topics().map(({ device }) => device)).toContain('b')
    expect(totals.topics().map(({ device }) => device)).not.toContain('a9')
  })

  test('handshakes count from when the load began, in whichever order that is told', () => {
    const totals = createTotals()
    const histograms = { handshake: encoded(9), enroll: encoded(9) }
    totals.add(0, sample(-1_000, { histograms }))
    totals.started(START)
    totals.add(0, sample(0, { histograms }))
    totals.add(0, sample(1_000, { histograms: { handshake: encoded(1) } }))
    const { measures } = totals.totals()
    expect(measures['handshake']).toMatchObject({ count: 1, max: 1 })
    expect(measures['enroll']).toMatchObject({ count: 2 })
    // second by second all of them are there
    expect(totals.points(START).map((point) => point.measures['handshake']?.count)).toEqual([1, 1, 1])
  })
})

describe('what is missing', () => {
  const counts = {
    dropped: 4,
    unanswered: 3,
    unanswered_https: 1,
    unanswered_mqtt: 2,
    published: 10,
    acknowledged: 9,
    lost: 8,
  }
  const errors = { 'https ECONNRESET': 5, 'mqtt ECONNREFUSED': 6, 'enroll x': 7 }
  const all = encoded(...Array.from({ length: 90 }, () => 1))
  const histograms = { https: all, publish: all, delivery: all, connect: all, tcp: all }
  const missing = (load: 'open' | 'closed') => {
    const totals = createTotals(load)
    totals.add(0, sample(1_000, { counts, errors, histograms }))
    const { measures } = totals.totals()
    return {
      missing: Object.fromEntries(Object.entries(measures).map(([name, each]) => [name, each.missing])),
      p99: measures['https']?.p99,
      ranked: totals.ranked()['https'],
    }
  }

  test('in an open loop: whatever was due and has no latency', () => {
    const { missing: found, p99, ranked } = missing('open')
    expect(found).toEqual({
      tcp: 0,
      connect: 6,
      https: 1 + 4 + 5,
      publish: 2 + 4 + 6 + 1,
      // the errors were attempts to connect: what waited for them came later, or is lost
      delivery: 8 + 2 + 4,
    })
    // 90 of 100 are known
    expect(p99).toBe(1)
    expect(ranked).toMatchObject({ p50: 1, p90: 1, p99: Infinity, max: Infinity, mean: Infinity, min: 1 })
  })

  test('in a closed loop: what was never answered', () => {
    expect(missing('closed').missing).toEqual({ tcp: 0, connect: 0, https: 1, publish: 2, delivery: 10 })
  })
})

describe('the series', () => {
  test('samples of one second are one point', () => {
    const totals = createTotals()
    const of = (part: number, at: number, count: number, from = at - 1_000) =>
      totals.add(
        part,
        sample(at, {
          from,
          counts: { published: count },
          histograms: { publish: encoded(part === 0 ? 1 : 5) },
          devices: 10,
          connected: part + 1,
          generator: { utilisation: part === 0 ? 0.9 : 0.1, lag: 3, cpu: 0, rss: 0 },
        }),
      )
    of(0, 1_000, 1)
    of(1, 1_000, 10)
    of(0, 2_000, 2)
    // the one of the second before has not come yet
    of(0, 3_000, 3)
    of(1, 2_000, 20)
    const points = totals.points(START)
    expect(points.map(({ at_ms, span_ms, counts }) => [at_ms, span_ms, counts['published']])).toEqual([
      [1_000, 1_000, 11],
      [2_000, 1_000, 22],
      [3_000, 1_000, 3],
    ])
    expect(points[0]).toMatchObject({
      devices: 20,
      connected: 3,
      measures: { publish: { count: 2, p50: 1, max: expect.closeTo(5, 1) } },
      generator: { utilisation: 0.9, lag_ms: 3 },
    })
    // a part that has not told yet is as it was
    expect(points[2]).toMatchObject({ devices: 20, connected: 3 })
    expect(totals.last(START)?.at_ms).toBe(2_000)
  })

  test('each says how long it is: shorter at the start, longer when a process was late', () => {
    const totals = createTotals()
    totals.add(0, sample(-630, { from: -1_200 }))
    totals.started(START)
    totals.add(0, sample(0, { from: -630 }))
    totals.add(0, sample(1_000))
    totals.add(0, sample(3_000, { from: 1_000 }))
    expect(totals.points(START).map(({ at_ms, span_ms }) => [at_ms, span_ms])).toEqual([
      [-630, 570],
      [0, 630],
      [1_000, 1_000],
      [3_000, 2_000],
    ])
  })

  test.each([
    [
      'a little is of the second before',
      2_300,
      [
        [1_000, 1_000, 100],
        [2_300, 1_300, 130],
      ],
    ],
    [
      'more is one of its own',
      2_700,
      [
        [1_000, 1_000, 100],
        [2_000, 1_000, 100],
        [2_700, 700, 30],
      ],
    ],
  ])('what is left at the end: %s', (_, end, expected) => {
    const totals = createTotals()
    const busy = { counts: { published: 100 }, devices: 5 }
    totals.add(0, sample(1_000, busy))
    totals.add(0, sample(2_000, busy))
    totals.add(0, sample(end, { from: 2_000, last: true, counts: { published: 30 }, devices: 5 }))
    const points = totals.points(START)
    expect(points.map(({ at_ms, span_ms, counts }) => [at_ms, span_ms, counts['published']])).toEqual(
      expected,
    )
    expect(points.at(-1)?.devices).toBe(5)
  })

  test('a part that has ended is not waited for, and its devices are gone', () => {
    const totals = createTotals()
    for (let second = 1; second <= 9; second++) {
      totals.add(0, sample(second * 1_000, { devices: 3 }))
      if (second <= 4) totals.add(1, sample(second * 1_000, { devices: 2, last: false }))
      if (second === 4) totals.add(1, sample(4_300, { from: 4_000, last: true, devices: 2 }))
    }
    expect(totals.last(START)).toMatchObject({ at_ms: 9_000, devices: 3 })
    expect(totals.points(START).map(({ devices }) => devices)).toEqual([5, 5, 5, 5, 3, 3, 3, 3, 3])
  })

  test('a part that has died does not make it blank', () => {
    const totals = createTotals()
    for (let second = 1; second <= 9; second++) {
      totals.add(0, sample(second * 1_000))
      if (second <= 3) totals.add(1, sample(second * 1_000))
    }
    expect(totals.last(START)?.at_ms).toBe(6_000)
  })

  test('what was before the start is not above 0', () => {
    const totals = createTotals()
    for (const at of [-2_000, -1_000, 0, 1_000]) totals.add(0, sample(at))
    expect(totals.points(START).map(({ at_ms }) => at_ms)).toEqual([-2_000, -1_000, 0, 1_000])
    expect(createTotals().points(START)).toEqual([])
    expect(createTotals().last(START)).toBeUndefined()
  })

  test('a sample that comes far too late still counts, and overlaps nothing', () => {
    const totals = createTotals()
    for (let second = 1; second <= 10; second++) totals.add(0, sample(second * 1_000))
    totals.add(1, sample(1_000, { counts: { cut: 7 } }))
    totals.add(0, sample(11_000))
    const points = totals.points(START)
    expect(points.map(({ at_ms }) => at_ms / 1_000)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect(points.every(({ span_ms }) => span_ms === 1_000)).toBe(true)
    expect(points.reduce((sum, { counts }) => sum + (counts['cut'] ?? 0), 0)).toBe(7)
  })

  test('is never longer than an hour of points, loses nothing and averages nothing', () => {
    const totals = createTotals()
    totals.started(START)
    const seconds = 10_000
    for (let second = 1; second <= seconds; second++)
      totals.add(
        0,
        sample(second * 1_000, {
          counts: { published: 1 },
          refused: { 'mqtt connack_5': 1 },
          errors: { 'mqtt x': 1 },
        }),
      )
    totals.add(0, sample((seconds + 1) * 1_000, { histograms: { https: encoded(1, 1, 1) } }))
    totals.add(0, sample((seconds + 2) * 1_000, { histograms: { https: encoded(9) } }))
    const points = totals.points(START)
    expect(points.length).toBeLessThanOrEqual(3_600)
    expect(points.length).toBeGreaterThan(1_800)
    const sum = (of: (point: (typeof points)[number]) => number | undefined) =>
      points.reduce((all, point) => all + (of(point) ?? 0), 0)
    expect(sum(({ counts }) => counts['published'])).toBe(seconds)
    expect(sum(({ refused }) => refused['mqtt connack_5'])).toBe(seconds)
    expect(sum(({ errors }) => errors['mqtt'])).toBe(seconds)
    expect(sum(({ span_ms }) => span_ms)).toBe((seconds + 2) * 1_000)
    for (const { span_ms } of points.slice(0, -1)) expect(span_ms).toBe(4_000)
    expect(points.at(-1)?.measures['https']).toEqual({
      count: 4,
      p50: expect.closeTo(9, 1),
      p50_low: 1,
      p99: expect.closeTo(9, 1),
      max: expect.closeTo(9, 1),
    })
    // the live view goes on second by second
    expect(totals.last(START)).toMatchObject({
      at_ms: (seconds + 2) * 1_000,
      span_ms: 1_000,
      measures: { https: { count: 1 } },
    })
  })
})
