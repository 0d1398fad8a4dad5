import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createTimers, type Timed } from '#gateway/mqtt/timers.ts'

describe('timers', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const timed = (ring: (now: number) => number = () => Infinity): Timed & { rung: number[] } => {
    const one = {
      due: Infinity,
      place: -1,
      rung: [] as number[],
      ring: (now: number) => {
        one.rung.push(now)
        return ring(now)
      },
    }
    return one
  }

  test('ring at the earliest moment that was said, and once', () => {
    using timers = createTimers()
    const one = timed()
    const began = timers.now()
    timers.by(one, began + 200)
    timers.by(one, began + 100)
    timers.by(one, began + 300)
    vi.advanceTimersByTime(99)
    expect(one.rung).toEqual([])
    vi.advanceTimersByTime(10_000)
    expect(one.rung).toHaveLength(1)
  })

  test('ring again when they are told when', () => {
    using timers = createTimers()
    const one = timed((now) => (one.rung.length < 3 ? now + 50 : Infinity))
    timers.by(one, timers.now() + 50)
    vi.advanceTimersByTime(1_000)
    expect(one.rung).toHaveLength(3)
  })

  test('a moment further away than a timer can be does not come at once', () => {
    using timers = createTimers()
    const one = timed()
    timers.by(one, timers.now() + 60 * 86_400_000)
    vi.advanceTimersByTime(59 * 86_400_000)
    expect(one.rung).toEqual([])
    vi.advanceTimersByTime(86_400_000)
    expect(one.rung).toHaveLength(1)
  })

  test('what is dropped, also while another rings, is not rung', () => {
    using timers = createTimers()
    const other = timed()
    const one = timed(() => {
      timers.drop(other)
      return Infinity
    })
    timers.by(one, timers.now() + 10)
    timers.by(other, timers.now() + 10)
    timers.drop(other)
    timers.by(other, timers.now() + 11)
    vi.advanceTimersByTime(1_000)
    expect([one.rung.length, other.rung.length]).toEqual([1, 0])
  })

  test('of very many each in its turn, whatever is put off, dropped and brought forward', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(1_000), fc.option(fc.nat(1_000)), fc.boolean()), { maxLength: 200 }),
        (all) => {
          using timers = createTimers()
          const began = timers.now()
          const rung: number[] = []
          const wanted: number[] = []
          for (const [first, second, drop] of all) {
            const one: Timed = {
              due: Infinity,
              place: -1,
              ring: () => {
                rung.push(one.due - began)
                return Infinity
              },
            }
            timers.by(one, began + first)
            if (second !== null) timers.by(one, began + second)
            if (drop) timers.drop(one)
            else wanted.push(Math.min(first, second ?? first))
          }
          vi.advanceTimersByTime(2_000)
          expect(rung).toEqual(wanted.toSorted((x, y) => x - y))
        },
      ),
      { numRuns: 50 },
    )
  })
})
