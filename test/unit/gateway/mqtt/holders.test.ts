import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createHolders, type Holder, type Holders } from '#gateway/mqtt/holders.ts'

let log: string[]
/** discards under way */
let asked: { readonly id: string; readonly done: (gone: boolean) => void }[]
let holders: Holders

beforeEach(() => {
  log = []
  asked = []
  holders = createHolders((id, done) => void asked.push({ id, done }))
})

const holder = (name: string): Holder => ({
  ready: () => void log.push(`${name} ready`),
  superseded: (by) => void log.push(`${name} superseded by ${by.fingerprint}`),
  unavailable: () => void log.push(`${name} unavailable`),
  fingerprint: name,
})
const [a, b, c] = ['a', 'b', 'c'].map(holder) as [Holder, Holder, Holder]
const ended = (gone = true): void => asked.shift()?.done(gone)

test('a free id is given at once, and again after its release', () => {
  holders.claim('id', a)
  holders.claim('other', b)
  holders.release('id', a)
  holders.claim('id', c)
  expect(log).toEqual(['a ready', 'b ready', 'c ready'])
})

test('the next one waits until the one before has let go', () => {
  holders.claim('id', a)
  holders.claim('id', b)
  expect(log).toEqual(['a ready', 'a superseded by b'])
  holders.release('id', a)
  expect(log).toEqual(['a ready', 'a superseded by b', 'b ready'])
})

test('of many that wait only the newest gets it', () => {
  holders.claim('id', a)
  holders.claim('id', b)
  holders.claim('id', c)
  holders.release('id', b)
  holders.release('id', a)
  expect(log).toEqual(['a ready', 'a superseded by b', 'b superseded by c', 'c ready'])
})

test('one that gives up waiting is not given it', () => {
  holders.claim('id', a)
  holders.claim('id', b)
  holders.release('id', b)
  holders.release('id', a)
  holders.claim('id', c)
  expect(log).toEqual(['a ready', 'a superseded by b', 'c ready'])
})

describe('a link that is stuck', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('locks nobody out for longer than some seconds', () => {
    holders.claim('id', a)
    holders.claim('id', b)
    vi.advanceTimersByTime(6_999)
    expect(log).not.toContain('b ready')
    vi.advanceTimersByTime(1)
    expect(log).toContain('b ready')
    // the one before lets go at last: that is not the newer one's end
    holders.release('id', a)
    holders.claim('id', c)
    expect(log.at(-1)).toBe('b superseded by c')
  })

  test('of a device that was cut: what the broker keeps is ended first', () => {
    holders.claim('id', a)
    holders.discard('id')
    holders.claim('id', b)
    vi.advanceTimersByTime(7_000)
    expect(log).not.toContain('b ready')
    ended()
    expect(log.at(-1)).toBe('b ready')
  })

  test('with nobody waiting any more is nobody else’s', () => {
    holders.claim('id', a)
    holders.claim('id', b)
    holders.release('id', b)
    vi.advanceTimersByTime(7_000)
    holders.claim('id', c)
    expect(log).toEqual(['a ready', 'a superseded by b', 'a superseded by c'])
    holders.release('id', a)
    expect(log.at(-1)).toBe('c ready')
  })
})

describe('what the broker keeps is ended', () => {
  test('before the next one gets the id', () => {
    holders.claim('id', a)
    holders.claim('id', b)
    holders.discard('id')
    holders.release('id', a)
    expect(log).toEqual(['a ready', 'a superseded by b'])
    holders.claim('id', c)
    expect(log.at(-1)).toBe('b superseded by c')
    ended()
    expect(log.at(-1)).toBe('c ready')
  })

  test('of an id that nobody holds, once however often it is asked for', () => {
    const done = vi.fn()
    holders.discard('id', done)
    holders.discard('id', done)
    holders.claim('id', a)
    expect(log).toEqual([])
    expect(asked).toHaveLength(1)
    ended()
    expect(log).toEqual(['a ready'])
    expect(done).toHaveBeenCalledTimes(2)
  })

  test('of one that is on its way out', () => {
    const done = vi.fn()
    holders.claim('id', a)
    holders.discard('id', done)
    expect(asked).toHaveLength(0)
    holders.release('id', a)
    expect(done).not.toHaveBeenCalled()
    ended()
    expect(done).toHaveBeenCalledOnce()
    holders.claim('id', b)
    expect(log).toEqual(['a ready', 'b ready'])
  })

  test('or it is not: then nobody goes on with it, until it is', () => {
    const done = vi.fn()
    holders.discard('id', done)
    holders.claim('id', a)
    ended(false)
    expect(log).toEqual(['a unavailable'])
    holders.release('id', a)
    // whoever comes next asks once more
    holders.claim('id', b)
    expect(log).toEqual(['a unavailable'])
    ended(false)
    expect(log).toEqual(['a unavailable', 'b unavailable'])
    holders.retry()
    holders.retry()
    expect(asked).toHaveLength(1)
    expect(done).not.toHaveBeenCalled()
    ended()
    expect(done).toHaveBeenCalledOnce()
    holders.claim('id', c)
    expect(log.at(-1)).toBe('c ready')
    holders.retry()
    expect(asked).toHaveLength(0)
  })
})
