import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { HOLD, type ClientSide } from '#gateway/mqtt/client-side.ts'
import type { Step } from '#gateway/mqtt/frames.ts'
import { Reading } from '#gateway/mqtt/reading.ts'

const PING = Buffer.from('c000', 'hex')

/** What becomes of the next packets, and whether the client is listened to. */
let steps: Step[]
let wait: number
let seen: number
let held: Set<string>
let broken: unknown[]
let reading: Reading

beforeEach(() => {
  vi.useFakeTimers()
  steps = []
  wait = 0
  seen = 0
  held = new Set()
  broken = []
  const nameOf = (why: number): string => Object.entries(HOLD).find(([, hold]) => hold === why)?.[0] ?? ''
  const client = {
    hold: (why: number) => void held.add(nameOf(why)),
    release: (why: number) => void held.delete(nameOf(why)),
  } as unknown as ClientSide
  const owner = {
    client,
    over: false,
    fail: () => {},
    toBroker: () => {},
    read: () => {},
    broke: (error: unknown) => void broken.push(error),
  }
  reading = new Reading(owner, 100, () => 'skip')
  reading.judgeBy(
    () => {
      seen++
      if (wait > 0) {
        reading.share.exhaust()
        reading.wait(wait)
      }
      return steps.shift() ?? 'forward'
    },
    4,
    100,
  )
})
afterEach(() => {
  vi.runAllTimers()
  vi.useRealTimers()
})

test('a client over its rate is read from later', () => {
  wait = 100
  reading.push(Buffer.concat([PING, PING]))
  expect([seen, ...held]).toEqual([1, 'turn'])
  wait = 0
  vi.advanceTimersByTime(99)
  expect(seen).toBe(1)
  vi.advanceTimersByTime(2)
  expect([seen, ...held]).toEqual([2])
})

test('also when the packet behind which it waited is done before', () => {
  wait = 100
  steps = ['forward-hold']
  reading.push(Buffer.concat([PING, PING]))
  expect([seen, ...held]).toEqual([1, 'packet'])
  wait = 0
  vi.advanceTimersByTime(60)
  reading.goOn()
  expect([seen, held.has('turn')]).toEqual([1, true])
  // what was on its way comes all the same
  reading.push(PING)
  vi.advanceTimersByTime(39)
  expect(seen).toBe(1)
  vi.advanceTimersByTime(2)
  expect([seen, ...held]).toEqual([3])
  reading.push(PING)
  expect(seen).toBe(4)
})

test('and not longer, when it is done after', () => {
  wait = 100
  steps = ['forward-hold']
  reading.push(Buffer.concat([PING, PING]))
  wait = 0
  vi.advanceTimersByTime(200)
  expect([seen, ...held]).toEqual([1, 'packet'])
  reading.goOn()
  expect([seen, ...held]).toEqual([2])
})

test('what is thrown in a later turn is its owner’s to hear', () => {
  wait = 100
  reading.push(Buffer.concat([PING, PING]))
  vi.spyOn(reading, 'push').mockImplementation(() => {
    throw new Error('boom')
  })
  vi.advanceTimersByTime(101)
  expect(broken).toMatchObject([{ message: 'boom' }])
})
