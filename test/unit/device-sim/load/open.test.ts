/** Turns are due by the rate alone: none is lost or shifted because an answer, or the generator itself, was slow; what cannot be begun is counted. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  createLoadCounts,
  MOST_UNDER_WAY,
  openLoop,
  type LoadCounts,
  type OpenLoop,
  type Taker,
} from '#device-sim/load/open.ts'
import { createRandom } from '#device-sim/random.ts'

const START = 1_000_000

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
    phase: 0,
    random: () => 0.5,
    startsAt: START,
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
  expect(counts).toEqual({ late: 0, dropped: 0 })
})

test('begins when it is told to, in its own phase', () => {
  using _ = open({ startsAt: START + 500, phase: 0.5 })
  vi.advanceTimersByTime(520)
  expect(taken.map(({ due }) => due)).toEqual([505, 515])
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

test('who has not come takes no turn, and nobody takes it instead', () => {
  let here = false
  using _ = open({ takers: [taker(0), taker(1, () => here)] })
  vi.advanceTimersByTime(995)
  expect(taken).toHaveLength(50)
  here = true
  vi.advanceTimersByTime(1_000)
  expect(taken).toHaveLength(150)
  expect(counts).toEqual({ late: 0, dropped: 0 })
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
    const loop = open({ takers: [{ ready: () => true, take }], rate: 1_000_000 })
    vi.advanceTimersByTime(200)
    loop.finish()
    expect(underWay).toBe(MOST_UNDER_WAY)
    expect(underWay + counts.dropped).toBeGreaterThan(190_000)
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
    expect(counts).toEqual({ late: 10, dropped: 0 })
  })
})

test('nothing happens once it is disposed, and nothing for nobody', () => {
  open()[Symbol.dispose]()
  using _ = open({ takers: [] })
  vi.advanceTimersByTime(1_000)
  expect(taken).toEqual([])
  expect(counts.dropped).toBe(0)
})
