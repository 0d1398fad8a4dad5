import { getEventListeners } from 'node:events'
import { describe, expect, test, vi } from 'vitest'
import { createGate, firstOf, pause } from '#device-sim/waiting.ts'

describe('pause', () => {
  test('ends with the first of its signals, and leaves nothing on the others', async () => {
    const first = new AbortController()
    const other = new AbortController()
    const ends = pause(60_000, first.signal, other.signal)
    first.abort()
    await ends
    expect(getEventListeners(other.signal, 'abort')).toEqual([])
  })

  test('does not begin when a signal has fired already', async () => {
    await pause(60_000, undefined, AbortSignal.abort())
  })

  test('for a time that has passed is none, and nobody is warned of it', async () => {
    const warn = vi.spyOn(process, 'emitWarning')
    await pause(-60_000)
    expect(warn).not.toHaveBeenCalled()
  })

  test('ends by itself, and leaves nothing', async () => {
    const { signal } = new AbortController()
    await pause(1, signal)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

test('the first of some signals ends the wait for them, also one that has fired already; nothing is left on the others', async () => {
  const first = new AbortController()
  const other = new AbortController()
  const ends = firstOf(first.signal, other.signal)
  first.abort()
  await ends
  expect(getEventListeners(other.signal, 'abort')).toEqual([])
  await firstOf(other.signal, first.signal)
  expect(getEventListeners(other.signal, 'abort')).toEqual([])
})

describe('a gate', () => {
  test('lets so many through at once, the others in order, and is not blocked by failures', async () => {
    const gate = createGate(2)
    const doors = Array.from({ length: 5 }, () => Promise.withResolvers<void>())
    const inside: number[] = []
    const done = doors.map((door, at) =>
      gate(async () => {
        inside.push(at)
        await door.promise
      }),
    )
    const settled = Promise.allSettled(done)
    expect(inside).toEqual([0, 1])
    doors[1]?.reject(new Error('no'))
    await expect(done[1]).rejects.toThrow('no')
    expect(inside).toEqual([0, 1, 2])
    for (const door of doors) door.resolve()
    await settled
    expect(inside).toEqual([0, 1, 2, 3, 4])
    expect(await gate(() => Promise.resolve('again'))).toBe('again')
  })
})
