import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createOtherWorkers } from '#gateway/workers/other-workers.ts'
import { TIMES } from '#gateway/workers/times.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const open = (isHeard = true) => {
  const said: object[] = []
  const known: string[] = []
  const others = createOtherWorkers((word) => said.push(word) > 0 && isHeard)
  const tell = (holder: string): void => {
    void others.tell({ holder, at: 7 }).then(() => known.push(holder))
  }
  return { others, said, known, tell }
}

test('each logout is known when the gateway says so, in whatever order', async () => {
  const { others, said, known, tell } = open()
  tell('a')
  tell('b')
  expect(said).toEqual([
    { kind: 'logout', nth: 1, holder: 'a', at: 7 },
    { kind: 'logout', nth: 2, holder: 'b', at: 7 },
  ])
  for (const nth of [9, 2, 2, 1]) others.known({ kind: 'known', nth })
  await vi.advanceTimersByTimeAsync(0)
  expect([known, vi.getTimerCount()]).toEqual([['b', 'a'], 0])
})

test('a gateway that says nothing is not waited for, and one that says it late is no trouble', async () => {
  const { others, known, tell } = open()
  tell('a')
  await vi.advanceTimersByTimeAsync(TIMES.known)
  expect(known).toEqual(['a'])
  others.known({ kind: 'known', nth: 1 })
})

test('the end of the channel is an answer to all, before and after', async () => {
  const { others, known, tell } = open()
  tell('a')
  tell('b')
  others.gone()
  await vi.advanceTimersByTimeAsync(0)
  expect([known, vi.getTimerCount()]).toEqual([['a', 'b'], 0])
  const without = open(false)
  without.tell('c')
  await vi.advanceTimersByTimeAsync(0)
  expect([without.known, vi.getTimerCount()]).toEqual([['c'], 0])
})
