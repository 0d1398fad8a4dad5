/** Two seconds for the operator API after a Ctrl-C, and none of them while the workers come to their end. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createLastCalls } from '#device-sim/coordinator/last-calls.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('nobody has interrupted: each call has its own time', async () => {
  using calls = createLastCalls(new AbortController().signal)
  await vi.advanceTimersByTimeAsync(60_000)
  expect(calls.signal.aborted).toBe(false)
})

test.each([
  ['before', true],
  ['meanwhile', false],
])('interrupted %s: two seconds in all', async (_, before) => {
  const stop = new AbortController()
  if (before) stop.abort()
  using calls = createLastCalls(stop.signal)
  stop.abort()
  await vi.advanceTimersByTimeAsync(1_900)
  expect(calls.signal.aborted).toBe(false)
  await vi.advanceTimersByTimeAsync(200)
  expect(calls.signal.aborted).toBe(true)
})

test('they begin when the workers have ended', async () => {
  const stop = new AbortController()
  using calls = createLastCalls(stop.signal)
  const crew = Promise.withResolvers<string>()
  const during = calls.during(crew.promise)
  stop.abort()
  await vi.advanceTimersByTimeAsync(7_000)
  expect(calls.signal.aborted).toBe(false)
  crew.resolve('ended')
  expect(await during).toBe('ended')
  await vi.advanceTimersByTimeAsync(2_100)
  expect(calls.signal.aborted).toBe(true)
})
