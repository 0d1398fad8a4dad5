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
/** @param at ms after the start */
const sample = (at: number, o: Partial<Omit<Sample, 'at'>> = {}): Sample => ({
  counts: {},
  refused: {},
  errors: {},
  histograms: {},
  devices: 0,
  connected: 0,
  underWay: 0,
  generator: { utilisation: 0, lag: 0, cpu: 0, rss: 0 },
  ...o,
  at: START + at,
})

describe('totals', () => {
  test('of many parts are one', () => {
    const totals = createTotals()
    totals.add(0, sample(1_000, { counts: { admitted_https: 2 }, histograms: { https: encoded(1, 2) } }))
    totals.add(
      1,
      sample(1_020, {
        counts: { admitted_https: 1, cut: 1 },
        refused: { 'https certificate_revoked': 2, 'mqtt connack_5': 1 },
        errors: { 'mqtt closed: by the other side': 1 },
        histograms: { https: encoded(9) },
      }),
    )
    totals.add(1, sample(2_020, { refused: { 'https certificate_revoked': 1 } }))
    const { measures, ...rest } = totals.totals()
    expect(rest).toEqual({
      counts: { admitted_https: 3, cut: 1 },
      refused: { https: { certificate_revoked: 3 }, mqtt: { connack_5: 1 } },
      errors: { mqtt: { 'closed: by the other side': 1 } },
    })
    expect(Object.keys(measures)).toEqual(['https'])
    expect(measures['https']).toMatchObject({
      count: 3,
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
})

describe('the series', () => {
  test('samples of one second are one point, whoever was a little late', () => {
    const totals = createTotals()
    const of = (part: number, at: number, count: number) =>
      totals.add(
        part,
        sample(at, {
          counts: { published: count },
          histograms: { publish: encoded(part === 0 ? 1 : 5) },
          devices: 10,
          connected: part + 1,
          generator: { utilisation: part === 0 ? 0.9 : 0.1, lag: 3, cpu: 0, rss: 0 },
        }),
      )
    of(0, 1_001, 1)
    of(1, 1_400, 10)
    of(0, 2_001, 2)
    // jitter: the one of the second before has not come yet
    of(0, 3_010, 3)
    of(1, 2_499, 20)
    const points = totals.points(START)
    expect(points.map(({ at_ms, counts }) => [at_ms, counts['published']])).toEqual([
      [1_000, 11],
      [2_000, 22],
      [3_000, 3],
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

  test('what was before the start is not above 0', () => {
    const totals = createTotals()
    for (const at of [-2_000, -1_000, 0, 1_000]) totals.add(0, sample(at))
    expect(totals.points(START).map(({ at_ms }) => at_ms)).toEqual([-2_000, -1_000, 0, 1_000])
    expect(createTotals().points(START)).toEqual([])
    expect(createTotals().last(START)).toBeUndefined()
  })

  test('a sample that comes far too late still counts', () => {
    const totals = createTotals()
    for (let second = 1; second <= 10; second++) totals.add(0, sample(second * 1_000))
    totals.add(1, sample(1_000, { counts: { cut: 7 } }))
    totals.add(0, sample(11_000))
    expect(totals.points(START).map(({ at_ms }) => at_ms / 1_000)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    ])
    expect(totals.points(START).reduce((sum, { counts }) => sum + (counts['cut'] ?? 0), 0)).toBe(7)
  })

  test('is never longer than an hour of points, and loses nothing', () => {
    const totals = createTotals()
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
    expect(sum(({ measures }) => measures['https']?.count)).toBe(4)
    for (const [at, { at_ms }] of points.entries())
      if (at > 0) expect(at_ms - (points[at - 1]?.at_ms ?? 0)).toBe(4_000)
    // the live view goes on second by second
    expect(totals.last(START)).toMatchObject({
      at_ms: (seconds + 2) * 1_000,
      measures: { https: { count: 1 } },
    })
  })
})
