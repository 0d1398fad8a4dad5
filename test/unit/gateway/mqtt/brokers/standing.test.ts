import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Failure } from '#gateway/mqtt/brokers/dial.ts'
import { createStanding, PACE, retryAfter } from '#gateway/mqtt/brokers/standing.ts'

describe('checks of a broker that is down', () => {
  test.each([
    [1, 250],
    [2, 500],
    [3, 1_000],
    [5, 4_000],
    [6, 5_000],
    [1_000_000, 5_000],
  ])('after %i failures: %i ms', (failures, ms) => {
    expect(retryAfter(PACE, failures, 0.5)).toBe(ms)
    expect(retryAfter(PACE, failures, 0)).toBe(ms / 2)
    expect(retryAfter(PACE, failures, 1)).toBe(ms * 1.5)
  })
})

describe('the standing of an address', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  /** `answers`: what each check finds, the last one for ever */
  const open = (...answers: (Failure | undefined | Promise<Failure>)[]) => {
    const said: (Failure | 'up')[] = []
    const checks: number[] = []
    const standing = createStanding({
      pace: PACE,
      clock: () => Date.now() - start,
      random: () => 0.5,
      check: () => {
        checks.push(Date.now() - start)
        return Promise.resolve(answers.length > 1 ? answers.shift() : answers[0])
      },
      changed: (failure) => void said.push(failure ?? 'up'),
    })
    return { standing, said, checks }
  }
  let start = 0
  beforeEach(() => {
    start = Date.now()
  })
  const after = (ms: number) => vi.advanceTimersByTimeAsync(ms)

  test('is unknown at first, and may be tried', () => {
    const { standing } = open(undefined)
    expect(standing.up).toBeUndefined()
    expect(standing.usable(0)).toBe(true)
  })

  test('goes down, is asked further and further apart, and comes back', async () => {
    const { standing, said, checks } = open('refused', 'refused', 'refused', undefined)
    await after(0)
    expect([standing.up, standing.usable(0)]).toEqual([false, false])
    await after(2_000)
    expect(checks).toEqual([0, 250, 750, 1_750])
    expect(said).toEqual(['refused', 'up'])
    expect(standing.up).toBe(true)
  })

  test('a connection that cannot be made takes it down at once, and once', async () => {
    const { standing, said, checks } = open(undefined)
    await after(0)
    for (let each = 0; each < 1_000; each++) standing.failed('refused')
    expect(said).toEqual(['up', 'refused'])
    await after(250)
    expect(checks).toEqual([0, 250])
    expect(standing.up).toBe(true)
  })

  test.each<Failure>(['ports', 'files'])('%s: not its fault, and not tried for a second', async (failure) => {
    const { standing, said } = open(undefined)
    await after(0)
    standing.failed(failure)
    expect(standing.up).toBe(true)
    expect([standing.usable(999), standing.usable(1_000)]).toEqual([false, true])
    expect(said).toEqual(['up'])
  })

  test('one that closes connections is asked, however many it closes, once a second', async () => {
    const { standing, checks, said } = open(undefined, 'refused')
    await after(1_000)
    for (let each = 0; each < 1_000; each++) standing.suspect()
    await after(0)
    expect(checks).toEqual([0, 1_000])
    expect(said).toEqual(['up', 'refused'])
    standing.suspect()
    await after(0)
    expect(checks.length).toBe(2)
  })

  test('a suspicion that follows a check at once waits for the next', async () => {
    const { standing, checks } = open(undefined)
    await after(100)
    standing.suspect()
    standing.suspect()
    await after(899)
    expect(checks).toEqual([0])
    await after(1)
    expect(checks).toEqual([0, 1_000])
  })

  test('is asked now and then, unless it is heard anyway', async () => {
    const { standing, checks } = open(undefined)
    await after(10_000)
    expect(checks).toEqual([0, 10_000])
    await after(5_000)
    standing.heard()
    await after(9_000)
    expect(checks).toEqual([0, 10_000])
    await after(6_000)
    expect(checks).toEqual([0, 10_000, 30_000])
  })

  test('one that answers nobody for a second is doubted, and asked; down when it does not answer that either', async () => {
    const late = Promise.withResolvers<Failure>()
    const { standing, checks, said } = open(undefined, late.promise)
    await after(5_000)
    standing.asked()
    await after(500)
    standing.asked()
    await after(499)
    expect([standing.doubted, checks]).toEqual([false, [0]])
    await after(1)
    expect([standing.doubted, standing.usable(0), checks]).toEqual([true, true, [0, 6_000]])
    late.resolve('timeout')
    await after(0)
    expect([standing.up, said]).toEqual([false, ['up', 'timeout']])
  })

  test('one that answers somebody is not, nor any more', async () => {
    const { standing, checks } = open(undefined, new Promise<never>(() => {}))
    await after(5_000)
    standing.asked()
    await after(900)
    standing.heard()
    await after(3_000)
    expect([standing.doubted, checks]).toEqual([false, [0]])
    standing.asked()
    await after(1_000)
    expect(standing.doubted).toBe(true)
    standing.heard()
    expect(standing.doubted).toBe(false)
  })

  test('a check that is well ends the doubt', async () => {
    const { standing, checks } = open(undefined)
    await after(5_000)
    standing.asked()
    await after(1_000)
    expect([standing.doubted, checks]).toEqual([false, [0, 6_000]])
  })

  test('a check that is late says nothing against one that answers others meanwhile', async () => {
    const late = Promise.withResolvers<Failure>()
    const { standing, said } = open(undefined, late.promise)
    await after(5_000)
    standing.suspect()
    await after(100)
    standing.heard()
    late.resolve('timeout')
    await after(0)
    expect([standing.up, said]).toEqual([true, ['up']])
  })

  test('a connection that is late, too: it is asked', async () => {
    const { standing, said, checks } = open(undefined)
    await after(5_000)
    standing.heard()
    standing.failed('timeout')
    expect([standing.up, checks]).toEqual([true, [0, 5_000]])
    await after(1_000)
    standing.failed('timeout')
    expect([standing.up, said]).toEqual([false, ['up', 'timeout']])
  })

  test('is not asked any more once it is nobody', async () => {
    const { standing, checks } = open('refused')
    await after(0)
    standing[Symbol.dispose]()
    await after(60_000)
    expect(checks).toEqual([0])
  })
})
