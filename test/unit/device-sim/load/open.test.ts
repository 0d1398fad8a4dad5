/** Turns are due by the rate alone: none is lost or shifted because an answer, or the generator itself, was slow; what cannot be begun is counted. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  createLoadCounts,
  MOST_UNDER_WAY,
  mostUnderWay,
  openLoop,
  type LoadCounts,
  type OpenLoop,
  type Taker,
} from '#device-sim/load/open.ts'
import { createRandom } from '#device-sim/random.ts'

/** as large as it is in life: ms of today have steps of a quarter of a µs */
const START = 1_800_000_000_000

beforeEach(() => void vi.useFakeTimers({ now: START }))
afterEach(() => void vi.useRealTimers())

let counts: LoadCounts
let underWay: number
let taken: { who: number; due: number; at: number }[]
let batches: number[]
beforeEach(() => {
  counts = createLoadCounts()
  underWay = 0
  taken = []
  batches = []
})

const taker = (who: number, ready: () => boolean = () => true): Taker => ({
  ready,
  take(dues) {
    batches.push(dues.length)
    for (const due of dues) taken.push({ who, due: due - START, at: Date.now() - START })
  },
})
const open = (o: Partial<Parameters<typeof openLoop>[0]> = {}): OpenLoop =>
  openLoop({
    takers: [taker(0), taker(1), taker(2)],
    rate: 100,
    arrivals: 'constant',
    random: () => 0.5,
    startsAt: START,
    tick: 1,
    most: MOST_UNDER_WAY,
    clock: () => Date.now(),
    counts,
    underWay: () => underWay,
    ...o,
  })

test('a constant rate: evenly, one after the other, each in its turn', () => {
  using _ = open()
  vi.advanceTimersByTime(1_000)
  expect(taken).toHaveLength(101)
  expect(taken.slice(0, 4)).toEqual([
    { who: 0, due: 0, at: 0 },
    { who: 1, due: 10, at: 10 },
    { who: 2, due: 20, at: 20 },
    { who: 0, due: 30, at: 30 },
  ])
  expect(counts).toEqual({ due: 101, absent: 0, late: 0, dropped: 0 })
})

test('begins when it is told to', () => {
  using _ = open({ startsAt: START + 500 })
  vi.advanceTimersByTime(520)
  expect(taken.map(({ due }) => due)).toEqual([500, 510, 520])
})

test.each([100_000, 300_000, 900_000])(
  '%d a second are that many, and no more or less by percents',
  (rate) => {
    const loop = open({ takers: [taker(0)], rate, endsAt: START + 1_000, most: Infinity })
    vi.setSystemTime(START + 2_000)
    loop.finish()
    expect(counts.due).toBe(rate)
  },
)

describe('divided among processes', () => {
  const plan = (arrivals: 'constant' | 'poisson', part: readonly number[]) => {
    taken = []
    vi.setSystemTime(START)
    const all = [3, 1, 4, 0, 2].map((who) => (part.includes(who) ? taker(who) : undefined))
    using loop = open({
      takers: all,
      arrivals,
      rate: 1_000,
      random: createRandom('x', 'arrivals').next,
      endsAt: START + 200,
    })
    vi.advanceTimersByTime(150)
    loop.finish()
    return taken.map(({ who, due }) => ({ who, due }))
  }
  test.each(['constant', 'poisson'] as const)(
    '%s arrivals are the same for any number of them',
    (arrivals) => {
      const whole = plan(arrivals, [0, 1, 2, 3, 4])
      const parts = [...plan(arrivals, [0, 2, 4]), ...plan(arrivals, [1, 3])]
      expect(whole.length).toBeGreaterThan(100)
      expect(parts.toSorted((a, b) => a.due - b.due)).toEqual(whole)
    },
  )

  test('one that has nobody has nothing to do', () => {
    using loop = open({ takers: [undefined, undefined] })
    vi.advanceTimersByTime(1_000)
    loop.finish()
    expect(counts).toEqual({ due: 0, absent: 0, late: 0, dropped: 0 })
    expect(vi.getTimerCount()).toBe(0)
  })
})

test('looks no more often than its tick, and what was due meanwhile is begun together', () => {
  using _ = open({ takers: [taker(0)], rate: 100_000, tick: 5, most: Infinity })
  vi.advanceTimersByTime(100)
  expect(batches.length).toBeLessThanOrEqual(22)
  expect(Math.max(...batches)).toBeLessThanOrEqual(501)
  expect(counts.late).toBe(0)
})

test('Poisson: seeded, with the mean of the rate and an exponential spread', () => {
  const run = () => {
    taken = []
    vi.setSystemTime(START)
    const loop = open({ rate: 1_000, arrivals: 'poisson', random: createRandom('x', 'arrivals').next })
    vi.advanceTimersByTime(20_000)
    loop[Symbol.dispose]()
    return taken.map(({ due }) => due)
  }
  const dues = run()
  expect(run()).toEqual(dues)
  expect(dues.length).toBeGreaterThan(19_000)
  expect(dues.length).toBeLessThan(21_000)
  const gaps = dues.slice(1).map((due, at) => due - (dues[at] as number))
  // of an exponential distribution 63 % lie below the mean
  const below = gaps.filter((gap) => gap < 1).length / gaps.length
  expect(below).toBeGreaterThan(0.61)
  expect(below).toBeLessThan(0.65)
})

test('a generator that was held up makes up for it, and says so', () => {
  using _ = open()
  vi.advanceTimersByTime(100)
  taken = []
  // no timer fires meanwhile
  vi.setSystemTime(START + 1_100)
  vi.advanceTimersByTime(10)
  expect(taken.length).toBeGreaterThanOrEqual(100)
  expect(taken[0]).toMatchObject({ due: 110 })
  expect(counts.late).toBeGreaterThanOrEqual(98)
  expect(counts.dropped).toBe(0)
})

test('all turns of one device that are due in one tick come at once', () => {
  using _ = open({ takers: [taker(0)], rate: 10_000 })
  vi.advanceTimersByTime(100)
  expect(taken.length).toBeGreaterThan(990)
  expect(Math.max(...batches)).toBeGreaterThanOrEqual(10)
})

test('who has not come takes no turn, nobody takes it instead, and it is counted', () => {
  let here = false
  using _ = open({ takers: [taker(0), taker(1, () => here)] })
  vi.advanceTimersByTime(995)
  expect(taken).toHaveLength(50)
  here = true
  vi.advanceTimersByTime(1_000)
  expect(taken).toHaveLength(150)
  expect(counts).toEqual({ due: 200, absent: 50, late: 0, dropped: 0 })
})

describe('too much', () => {
  test('with too many under way, what is due is not begun but counted', () => {
    using _ = open()
    underWay = MOST_UNDER_WAY
    vi.advanceTimersByTime(500)
    expect(taken).toEqual([])
    expect(counts.dropped).toBe(51)
    underWay = MOST_UNDER_WAY - 1
    vi.advanceTimersByTime(10)
    expect(taken).toHaveLength(1)
  })

  test('an absurd rate begins no more than may be under way, and the rest is counted', () => {
    const take = (dues: readonly number[]): void => void (underWay += dues.length)
    const loop = open({ takers: [{ ready: () => true, take }], rate: 1_000_000, endsAt: START + 200 })
    vi.advanceTimersByTime(200)
    loop.finish()
    expect(underWay).toBe(MOST_UNDER_WAY)
    expect(counts).toMatchObject({ due: 200_000, absent: 0, dropped: 200_000 - MOST_UNDER_WAY })
  })

  test.each([
    [0, MOST_UNDER_WAY],
    [128, MOST_UNDER_WAY],
    [65_536, 1_024],
    [1_048_576, 64],
  ])('turns of %d octets: at most %d, for they are in memory', (payload, most) => {
    expect(mostUnderWay(payload)).toBe(most)
    underWay = most - 1
    using _ = open({ most })
    vi.advanceTimersByTime(5)
    underWay = most
    vi.advanceTimersByTime(20)
    expect(counts).toMatchObject({ due: 3, dropped: 2 })
  })

  test('no tick is longer than so many turns: sockets are let in between', () => {
    let most = 0
    using _ = open({
      takers: [{ ready: () => true, take: (dues) => void (most = Math.max(most, dues.length)) }],
      rate: 100_000,
      startsAt: START - 1_000,
    })
    vi.advanceTimersByTime(10)
    expect(most).toBeLessThanOrEqual(1_000)
  })
})

describe('the end', () => {
  test('nothing is due from then on', () => {
    using _ = open({ endsAt: START + 100 })
    vi.advanceTimersByTime(1_000)
    expect(taken.map(({ due }) => due)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90])
  })

  test('what was due before it is begun even when nobody had time for it', () => {
    using loop = open({ endsAt: START + 100 })
    vi.setSystemTime(START + 150)
    loop.finish()
    expect(taken).toHaveLength(10)
    vi.advanceTimersByTime(1_000)
    expect(taken).toHaveLength(10)
    expect(counts).toEqual({ due: 10, absent: 0, late: 10, dropped: 0 })
    // once is enough
    loop.finish()
    expect(counts.due).toBe(10)
  })
})

test('nothing happens once it is disposed, and nothing for nobody', () => {
  open()[Symbol.dispose]()
  using _ = open({ takers: [] })
  vi.advanceTimersByTime(1_000)
  expect(taken).toEqual([])
  expect(counts.dropped).toBe(0)
})
