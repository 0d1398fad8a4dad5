import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { MINUTE } from '#fleet/clock.ts'
import { createAnonymousLines } from '#gateway/anonymous-lines.ts'
import { createLog } from '#runtime/log.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const open = () => {
  const said: Record<string, unknown>[] = []
  const log = createLog('gateway', 'info', {
    write: (line) => void said.push(JSON.parse(line) as Record<string, unknown>),
  })
  const lines = createAnonymousLines(log, 'more', 3)
  return { lines, said, take: (count: number) => Array.from({ length: count }, () => lines.take()) }
}

test('so many a minute, and one line for the rest', () => {
  const { said, take } = open()
  expect(take(5)).toEqual([true, true, true, false, false])
  expect(said).toEqual([])
  vi.advanceTimersByTime(MINUTE)
  expect(said).toMatchObject([{ left_out: 2, msg: 'more' }])
  expect(take(2)).toEqual([true, true])
  vi.advanceTimersByTime(MINUTE)
  expect(said).toHaveLength(1)
})

test('what was left out is said at the end, too', () => {
  const { lines, said, take } = open()
  take(4)
  lines[Symbol.dispose]()
  expect(said).toMatchObject([{ left_out: 1 }])
  expect(vi.getTimerCount()).toBe(0)
})
