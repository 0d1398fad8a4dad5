import { describe, expect, test } from 'vitest'
import { createRates } from '#gateway/rates.ts'

const open = (o: { perMinute?: number; most?: number } = {}) => {
  let now = 1_000_000
  const rates = createRates({ perMinute: 3, clock: () => now, ...o })
  return {
    take: (key = 'a', times = 1) => Array.from({ length: times }, () => rates.take(key)),
    pass: (ms: number) => {
      now += ms
    },
  }
}

describe('so many per minute', () => {
  test('at once, and then as they come back, each by itself', () => {
    const { take, pass } = open()
    expect(take('a', 5)).toEqual([0, 0, 0, 20_000, 20_000])
    expect(take('b', 1)).toEqual([0])
    pass(19_999)
    expect(take()).toEqual([1])
    pass(1)
    expect(take('a', 2)).toEqual([0, 20_000])
    pass(3_600_000)
    expect(take('a', 4)).toEqual([0, 0, 0, 20_000])
  })
  test('one', () => {
    const { take, pass } = open({ perMinute: 1 })
    expect(take('a', 2)).toEqual([0, 60_000])
    pass(60_000)
    expect(take()).toEqual([0])
  })
  test('a clock that is set back locks nobody out for more than a minute', () => {
    const { take, pass } = open()
    take('a', 3)
    pass(-3_600_000)
    expect(take()[0]).toBeLessThanOrEqual(60_000)
    pass(60_000)
    expect(take()).toEqual([0])
  })
})

describe('bounded', () => {
  test('those who are full again go first', () => {
    const { take, pass } = open({ most: 10 })
    for (let at = 0; at < 9; at += 1) take(`idle-${at}`)
    pass(30_000)
    take('busy', 3)
    take('new')
    expect(take('busy')[0]).toBeGreaterThan(0)
  })
  test('then those seen first', () => {
    const { take } = open({ most: 16 })
    for (let at = 0; at < 16; at += 1) take(`key-${at}`, 3)
    take('one-more', 3)
    expect(take('key-15')[0]).toBeGreaterThan(0)
    expect(take('one-more')[0]).toBeGreaterThan(0)
    expect(take('key-0')).toEqual([0])
  })
})
