import { describe, expect, test } from 'vitest'
import { createHistogram, decodeHistogram } from '#device-sim/measure/histograms.ts'

const of = (...values: readonly number[]) => {
  const histogram = createHistogram()
  for (const value of values) histogram.record(value)
  return histogram
}
const upTo = (count: number) => of(...Array.from({ length: count }, (_, at) => at + 1))

describe('a histogram', () => {
  test('says what was recorded, to three digits', () => {
    const { count, ...figures } = upTo(1_000).latency()
    expect(count).toBe(1_000)
    const expected = { min: 1, mean: 500.5, p50: 500, p90: 900, p99: 990, p999: 999, max: 1_000 }
    for (const [name, value] of Object.entries(expected)) {
      const got = figures[name as keyof typeof figures]
      expect(Math.abs(got - value) / value, `${name} ${got}`).toBeLessThan(0.001)
    }
  })

  test.each([
    ['of one value, all percentiles are it', [7], { p50: 7, p999: 7, max: 7 }],
    ['less than a µs is one', [0, -5, NaN, 0.000_4], { p50: 0.001, max: 0.001 }],
    ['more than an hour is one', [1e12, Infinity], { p50: 3_600_000, max: 3_600_000 }],
    ['whole µs', [0.123_4], { p50: 0.123 }],
  ])('%s', (_, values, expected) => {
    expect(of(...values).latency()).toMatchObject({ count: values.length, ...expected })
  })

  test('what is taken is what came since the last time, and goes into another one', () => {
    const worker = of(1, 2, 3)
    const all = createHistogram()
    for (const next of [[10, 20], [], [3_600_000]]) {
      const taken = worker.take()
      if (taken !== undefined) all.add(decodeHistogram(taken))
      for (const value of next) worker.record(value)
    }
    expect(all.latency()).toMatchObject({ count: 5, min: 1, max: expect.closeTo(20, 1) })
    all.add(decodeHistogram(worker.take() ?? ''))
    expect(all.latency()).toMatchObject({ count: 6, p50: expect.closeTo(3, 2), max: 3_600_000 })
    expect(worker.take()).toBeUndefined()
  })

  test('merging is the same as recording everything in one', () => {
    const parts = [of(1, 5, 9, 1_000), of(2, 2, 2), of(0.01, 60_000)]
    const all = createHistogram()
    for (const part of parts) all.add(decodeHistogram(part.take() ?? ''))
    const one = of(1, 5, 9, 1_000, 2, 2, 2, 0.01, 60_000)
    expect(all.buckets()).toEqual(one.buckets())
    expect(all.latency().p90 / one.latency().p90).toBeCloseTo(1, 3)
  })

  test.each([
    ['nothing', [], 0, 0],
    ['one value', [5], 1, 1],
    ['a narrow range', [10, 11, 12], 3, 8],
    ['all that there is', [0.001, 1, 3_600_000], 100, 120],
  ])('%s has few buckets, side by side', (_, values, least, most) => {
    const buckets = of(...values).buckets()
    expect(buckets.length).toBeGreaterThanOrEqual(least)
    expect(buckets.length).toBeLessThanOrEqual(most)
    expect(buckets.reduce((sum, { count }) => sum + count, 0)).toBe(values.length)
    for (const [at, { from, to }] of buckets.entries()) {
      expect(from).toBeLessThan(to)
      if (at > 0) expect(from).toBe(buckets[at - 1]?.to)
    }
    for (const value of values)
      expect(
        buckets.some(({ from, to, count }) => count > 0 && value >= from * 0.999 && value < to * 1.001),
      ).toBe(true)
  })
})
