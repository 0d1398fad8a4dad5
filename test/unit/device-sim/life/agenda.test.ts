import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { createAgenda } from '#device-sim/life/agenda.ts'

const START = 1_000_000
beforeEach(() => void vi.useFakeTimers({ now: START }))
afterEach(() => void vi.useRealTimers())

const clock = () => Date.now()

test('everything in its time, in the order of the times, whatever the order it was written down in', () => {
  using agenda = createAgenda(clock)
  const done: string[] = []
  for (const [at, what] of [
    [300, 'c'],
    [100, 'a'],
    [300, 'd'],
    [200, 'b'],
    [-5, 'past'],
  ] as const)
    agenda.add(START + at, () => void done.push(`${what} ${clock() - START}`))
  vi.advanceTimersByTime(1_000)
  expect(done).toEqual(['past 0', 'a 100', 'b 200', 'c 300', 'd 300'])
})

test('a time that no timer can hold is not now', () => {
  using agenda = createAgenda(clock)
  const act = vi.fn()
  agenda.add(START + 90 * DAY, act)
  vi.advanceTimersByTime(89 * DAY)
  expect(act).not.toHaveBeenCalled()
  vi.advanceTimersByTime(DAY)
  expect(act).toHaveBeenCalledOnce()
})

test('what is done may write down more', () => {
  using agenda = createAgenda(clock)
  const done: number[] = []
  agenda.add(START + 10, () => agenda.add(START + 20, () => void done.push(clock() - START)))
  vi.advanceTimersByTime(30)
  expect(done).toEqual([20])
})

test('nothing is done once it is disposed', () => {
  const agenda = createAgenda(clock)
  const act = vi.fn()
  agenda.add(START + 10, act)
  agenda[Symbol.dispose]()
  agenda.add(START + 20, act)
  vi.advanceTimersByTime(100)
  expect(act).not.toHaveBeenCalled()
})
