import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createHolders, LEAVES_WITHIN, type Holder, type Holders } from '#gateway/mqtt/holders.ts'

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
  arrivedAt: 0,
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

describe('what could not be ended is tried again', () => {
  const ids = Array.from({ length: 100 }, (_, n) => `id-${n}`)
  const failAll = (): void => {
    for (const id of ids) holders.discard(id)
    while (asked.length > 0) ended(false)
  }

  test('one at a time, each in its turn, as long as the broker ends none', () => {
    failAll()
    const tried: string[] = []
    for (let n = 0; n < 100; n += 1) {
      holders.retry()
      // it may take its time
      holders.retry()
      expect(asked).toHaveLength(1)
      tried.push(asked[0]?.id as string)
      ended(false)
    }
    expect(tried).toEqual(ids)
  })

  test('all of them as soon as it ends one, so many at a time', () => {
    failAll()
    holders.retry()
    ended()
    expect(asked).toHaveLength(64)
    let most = 0
    for (; asked.length > 0; ended()) most = Math.max(most, asked.length)
    expect(most).toBe(64)
    holders.retry()
    expect(asked).toEqual([])
  })

  test('also when it ended one that somebody else had asked for', () => {
    failAll()
    holders.claim('id-7', a)
    ended()
    expect(log).toEqual(['a ready'])
    expect(asked).toHaveLength(64)
  })

  test('one that is refused for ever is in nobody’s way', () => {
    failAll()
    holders.retry()
    ended()
    const gone = new Set<string>()
    for (let n = 0; n < 1_000 && asked.length > 0; n += 1) {
      const { id } = asked[0] as { id: string }
      const works = Number(id.slice(3)) >= 64
      if (works) gone.add(id)
      ended(works)
      if (asked.length === 0) holders.retry()
    }
    expect(gone.size).toBe(36)
  })

  test('a broker that fails at once is not asked for ever', () => {
    const refusing = vi.fn((_: string, done: (gone: boolean) => void) => done(false))
    const others = createHolders(refusing)
    for (const id of ids) others.discard(id)
    others.retry()
    expect(refusing).toHaveBeenCalledTimes(200)
  })
})

describe('whoever holds what is to be ended', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('is told to go when it does not go by itself', () => {
    holders.claim('id', a)
    holders.discard('id')
    holders.discard('id')
    vi.advanceTimersByTime(LEAVES_WITHIN - 1)
    expect(log).toEqual(['a ready'])
    vi.advanceTimersByTime(1)
    expect(log).toEqual(['a ready', 'a unavailable'])
    holders.release('id', a)
    expect(asked).toHaveLength(1)
  })

  test('is not told when it has gone, nor is the one who came then', () => {
    holders.claim('id', a)
    holders.discard('id')
    holders.release('id', a)
    ended()
    holders.claim('id', b)
    vi.advanceTimersByTime(LEAVES_WITHIN)
    expect(log).toEqual(['a ready', 'b ready'])
  })
})
