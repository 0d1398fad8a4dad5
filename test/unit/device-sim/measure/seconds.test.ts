import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { everySecond } from '#device-sim/measure/seconds.ts'

beforeEach(() => void vi.useFakeTimers({ now: 10_500 }))
afterEach(() => void vi.useRealTimers())

/** A machine whose timers fire `late` ms late. */
const ticks = (late: () => number) => {
  const told: number[] = []
  let held = 0
  const seconds = everySecond(
    () => Date.now() + held,
    (at) => told.push(at),
  )
  const pass = (ms: number): void => {
    for (let each = 0; each < ms; each += 10) {
      held = late()
      vi.advanceTimersByTime(10)
    }
  }
  return { told, seconds, pass }
}

test('at whole seconds, whenever it began', () => {
  const { told, seconds, pass } = ticks(() => 0)
  using _ = seconds
  pass(3_000)
  expect(told).toEqual([11_000, 12_000, 13_000])
})

test('a delay moves nothing into another second, and none adds up', () => {
  let turn = 0
  const { told, seconds, pass } = ticks(() => (turn++ % 3) * 150)
  using _ = seconds
  pass(60_000)
  expect(told).toEqual(Array.from({ length: told.length }, (_, at) => 11_000 + at * 1_000))
  expect(told.length).toBeGreaterThanOrEqual(59)
})

test('of two seconds that were slept through the nearer one is told, once', () => {
  const { told, seconds } = ticks(() => 0)
  using _ = seconds
  vi.advanceTimersByTime(1_000)
  vi.setSystemTime(13_700)
  vi.advanceTimersByTime(1_000)
  expect(told).toEqual([11_000, 14_000])
})

test('from a start on its seconds, and itself', () => {
  const { told, seconds, pass } = ticks(() => 0)
  using _ = seconds
  pass(700)
  seconds.startAt(11_370)
  pass(2_000)
  expect(told).toEqual([11_000, 11_370, 12_370])
})

test('a start that is heard of late is told at once', () => {
  const { told, seconds, pass } = ticks(() => 0)
  using _ = seconds
  pass(700)
  seconds.startAt(11_100)
  pass(1_000)
  expect(told).toEqual([11_000, 11_100, 12_100])
})
