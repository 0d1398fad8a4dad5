import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createOpeningGate } from '#device-sim/client/opening-gate.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

const settled = () => Promise.resolve()

test('so many at once, the others in order, each when a place is free', async () => {
  const gate = createOpeningGate(2)(1_000)
  const inside: number[] = []
  const leaves: (() => void)[] = []
  for (const who of [0, 1, 2, 3])
    gate((leave) => {
      inside.push(who)
      leaves.push(leave)
    })
  expect(inside).toEqual([0, 1])
  leaves[1]?.()
  // twice is once
  leaves[1]?.()
  expect(inside).toEqual([0, 1])
  await settled()
  expect(inside).toEqual([0, 1, 2])
  leaves[0]?.()
  await settled()
  expect(inside).toEqual([0, 1, 2, 3])
  leaves[2]?.()
  leaves[3]?.()
  await settled()
  gate(() => void inside.push(4))
  expect(inside).toEqual([0, 1, 2, 3, 4])
})

test('64 at once, where nobody says otherwise', () => {
  const gate = createOpeningGate()(1_000)
  let inside = 0
  for (let who = 0; who < 100; who++) gate(() => void inside++)
  expect(inside).toBe(64)
})

test('who has left the queue is not begun', async () => {
  const gate = createOpeningGate(1)(1_000)
  const inside: number[] = []
  let leave = (): void => {}
  gate((give) => {
    leave = give
  })
  const giveUp = gate(() => void inside.push(1))
  gate(() => void inside.push(2))
  giveUp()
  leave()
  await settled()
  expect(inside).toEqual([2])
})

test('who waits for a silent server makes room after a while, and all share the same places', async () => {
  const gates = createOpeningGate(1)
  const inside: string[] = []
  gates(1_000)(() => void inside.push('patient'))
  gates(250)(() => void inside.push('hasty'))
  gates(250)(() => void inside.push('last'))
  vi.advanceTimersByTime(999)
  expect(inside).toEqual(['patient'])
  vi.advanceTimersByTime(1)
  await settled()
  expect(inside).toEqual(['patient', 'hasty'])
  vi.advanceTimersByTime(250)
  await settled()
  expect(inside).toEqual(['patient', 'hasty', 'last'])
  vi.advanceTimersByTime(1_000)
  expect(vi.getTimerCount()).toBe(0)
})
