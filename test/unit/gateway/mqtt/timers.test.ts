import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createTimers, lifeEnds } from '#gateway/mqtt/timers.ts'

describe('how long a connection may live', () => {
  const day = 86_400_000
  test.each([
    ['the least', 0, 0.9 * day],
    ['the most', 1, 1.1 * day],
  ])('at random, %s', (_, random, expected) =>
    expect(lifeEnds({ longest: day, now: 1_000, random }) - 1_000).toBeCloseTo(expected, 3),
  )
})

describe('timers', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('silence is one and a half keep-alives', () => {
    const silent = vi.fn()
    const timers = createTimers()
    timers.keepAlive(10, () => false, silent)
    vi.advanceTimersByTime(14_999)
    timers.heard()
    vi.advanceTimersByTime(14_999)
    expect(silent).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(silent).toHaveBeenCalledOnce()
  })

  test('silence of our own making does not count', () => {
    const silent = vi.fn()
    let excused = true
    createTimers().keepAlive(10, () => excused, silent)
    vi.advanceTimersByTime(100_000)
    expect(silent).not.toHaveBeenCalled()
    excused = false
    vi.advanceTimersByTime(15_000)
    expect(silent).toHaveBeenCalledOnce()
  })

  test('no keep-alive, no end to silence', () => {
    const silent = vi.fn()
    createTimers().keepAlive(0, () => false, silent)
    vi.advanceTimersByTime(1e9)
    expect(silent).not.toHaveBeenCalled()
  })

  test('only the last wait counts, and none after it has arrived', () => {
    const late = vi.fn()
    const timers = createTimers()
    timers.wait(10, () => late('first'))
    timers.wait(20, () => late('second'))
    vi.advanceTimersByTime(100)
    timers.wait(10, () => late('third'))
    timers.arrived()
    vi.advanceTimersByTime(100)
    expect(late.mock.calls).toEqual([['second']])
  })

  test('a life longer than a timer can be does not end at once', () => {
    const outlived = vi.fn()
    createTimers().live(60 * 86_400_000, outlived)
    vi.advanceTimersByTime(20 * 86_400_000)
    expect(outlived).not.toHaveBeenCalled()
  })

  test('only the last life counts', () => {
    const outlived = vi.fn()
    const timers = createTimers()
    timers.live(10, () => outlived('first'))
    timers.live(20, () => outlived('second'))
    vi.advanceTimersByTime(100)
    expect(outlived.mock.calls).toEqual([['second']])
  })

  test('a stop stops all of it', () => {
    const rung = vi.fn()
    const timers = createTimers()
    timers.wait(10, rung)
    timers.keepAlive(1, () => false, rung)
    timers.live(10, rung)
    timers.stop()
    vi.advanceTimersByTime(1e6)
    expect(rung).not.toHaveBeenCalled()
  })
})
