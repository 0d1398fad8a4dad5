import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Deadlines, LATE, lifeEnds, type Late } from '#gateway/mqtt/deadlines.ts'
import { createTimers, type Timers } from '#gateway/mqtt/timers.ts'

let timers: Timers
let late: Late[]
let outlived: number
let stuck: number
let held: boolean
let deadlines: Deadlines

beforeEach(() => {
  vi.useFakeTimers()
  timers = createTimers()
  late = []
  outlived = 0
  stuck = 0
  held = false
  deadlines = new Deadlines(timers, () => Date.now(), {
    late: (what) => void late.push(what),
    outlived: () => {
      outlived++
      deadlines.stop()
    },
    stuck: () => void stuck++,
    get held() {
      return held
    },
  })
})
afterEach(() => {
  timers[Symbol.dispose]()
  vi.useRealTimers()
})
const pass = (ms: number): void => void vi.advanceTimersByTime(ms)

test('only the last wait counts, and none after it has arrived', () => {
  deadlines.wait(10, LATE.connect)
  deadlines.wait(20, LATE.broker)
  pass(100)
  deadlines.wait(10, LATE.connect)
  deadlines.arrived()
  pass(100)
  expect(late).toEqual([LATE.broker])
})

test('silence is one and a half keep-alives', () => {
  deadlines.keepAlive(10)
  pass(14_999)
  deadlines.packets(true, false)
  pass(14_998)
  expect(late).toEqual([])
  pass(3)
  expect(late).toEqual([LATE.silent])
})

test('silence of our own making does not count', () => {
  deadlines.keepAlive(10)
  held = true
  pass(100_000)
  expect(late).toEqual([])
  held = false
  pass(16_000)
  expect(late[0]).toBe(LATE.silent)
})

test('no keep-alive, no end to silence', () => {
  deadlines.keepAlive(0)
  pass(1e9)
  expect(late).toEqual([])
})

test('a packet that has begun has a minute, and bytes of it are no sign of life', () => {
  deadlines.packets(true, true)
  pass(30_000)
  deadlines.packets(false, true)
  pass(29_999)
  expect(late).toEqual([])
  pass(2)
  expect(late).toEqual([LATE.packet])
})

test.each([
  ['one that came whole', () => deadlines.packets(true, false)],
  ['another one that has begun since', () => deadlines.packets(true, true)],
])('a packet has no end to wait for after %s', (_, then) => {
  deadlines.packets(true, true)
  pass(59_000)
  then()
  pass(2_000)
  expect(late).toEqual([])
})

test('a packet that nobody reads may take its time', () => {
  deadlines.packets(false, true)
  held = true
  pass(200_000)
  expect(late).toEqual([])
})

test('only the last date counts, and a life may be longer than a timer', () => {
  deadlines.live(Date.now() + 10)
  deadlines.live(Date.now() + 60 * 86_400_000)
  pass(59 * 86_400_000)
  expect(outlived).toBe(0)
  pass(86_400_000)
  expect(outlived).toBe(1)
})

test('a date that is set while the machine sleeps is noticed within minutes', () => {
  deadlines.live(Date.now() + 86_400_000)
  vi.setSystemTime(Date.now() + 2 * 86_400_000)
  pass(10 * 60_000)
  expect(outlived).toBe(1)
})

test('a stop stops all of it', () => {
  deadlines.wait(10, LATE.connect)
  deadlines.keepAlive(1)
  deadlines.standStill(true)
  deadlines.live(Date.now() + 10)
  deadlines.stop()
  pass(1e6)
  expect([late.length, outlived, stuck]).toEqual([0, 0, 0])
})

test('when it was heard: not by its CONNECT, and not because silence was excused', () => {
  const arrived = timers.now()
  deadlines.keepAlive(10)
  held = true
  pass(60_000)
  expect(deadlines.heardSince(arrived)).toBe(false)
  deadlines.packets(true, false)
  const heard = timers.now()
  pass(4_999)
  expect([
    deadlines.heardSince(arrived),
    deadlines.heardSince(heard),
    deadlines.heardSince(heard + 1),
  ]).toEqual([true, true, false])
})

test('a client that is not read from for a minute has stood still for too long, unless it has moved', () => {
  deadlines.standStill(true)
  pass(59_999)
  deadlines.standStill(true)
  pass(59_999)
  expect(stuck).toBe(0)
  deadlines.standStill(false)
  pass(1e6)
  expect(stuck).toBe(0)
  deadlines.standStill(true)
  pass(60_001)
  pass(1e6)
  expect(stuck).toBe(1)
})

describe('how long a connection may live', () => {
  const day = 86_400_000
  test.each([
    ['the least', 0, 0.9 * day],
    ['the most', 1, 1.1 * day],
  ])('at random, %s', (_, random, expected) =>
    expect(lifeEnds({ longest: day, now: 1_000, random }) - 1_000).toBeCloseTo(expected, 3),
  )
})
