import { beforeEach, describe, expect, test } from 'vitest'
import { createHolders, type Holder, type Holders } from '#gateway/mqtt/holders.ts'
import type { LinkEvents, Upstream } from '#gateway/mqtt/upstream.ts'

let log: string[]
let broker: { events: LinkEvents; written: Buffer[]; endings: string[] }[]
let holders: Holders

beforeEach(() => {
  log = []
  broker = []
  const upstream: Upstream = {
    sharedSubscriptions: false,
    open: (events) => {
      const link = { events, written: [] as Buffer[], endings: [] as string[] }
      broker.push(link)
      return {
        write: (bytes) => link.written.push(Buffer.from(bytes)) > 0,
        pause: () => {},
        resume: () => {},
        end: (how) => void link.endings.push(how),
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  holders = createHolders(upstream)
})

const holder = (name: string): Holder => ({
  ready: () => void log.push(`${name} ready`),
  superseded: () => void log.push(`${name} superseded`),
})
const [a, b, c] = ['a', 'b', 'c'].map(holder) as [Holder, Holder, Holder]

test('a free id is given at once, and again after its release', () => {
  holders.claim('id', a)
  holders.claim('other', b)
  holders.release('id', a, false)
  holders.claim('id', c)
  expect(log).toEqual(['a ready', 'b ready', 'c ready'])
})

test('the next one waits until the one before has let go', () => {
  holders.claim('id', a)
  holders.claim('id', b)
  expect(log).toEqual(['a ready', 'a superseded'])
  holders.release('id', a, false)
  expect(log).toEqual(['a ready', 'a superseded', 'b ready'])
})

test('of many that wait only the newest gets it', () => {
  holders.claim('id', a)
  holders.claim('id', b)
  holders.claim('id', c)
  holders.release('id', b, false)
  holders.release('id', a, false)
  expect(log).toEqual(['a ready', 'a superseded', 'b superseded', 'c ready'])
})

test('one that gives up waiting is not given it', () => {
  holders.claim('id', a)
  holders.claim('id', b)
  holders.release('id', b, false)
  holders.release('id', a, false)
  holders.claim('id', c)
  expect(log).toEqual(['a ready', 'a superseded', 'c ready'])
})

describe('a session is ended', () => {
  const answer = (at: number): void => {
    expect(broker[at]?.written.map((bytes) => (bytes[0] as number) >> 4)).toEqual([1])
    expect(broker[at]?.written[0]?.toString('latin1')).toContain('id')
    broker[at]?.events.data(Buffer.from('20020000', 'hex'))
    expect(broker[at]?.written.map((bytes) => (bytes[0] as number) >> 4)).toEqual([1, 14])
    expect(broker[at]?.endings).toEqual(['finish'])
    broker[at]?.events.closed()
  }

  test('before the next one gets the id', () => {
    holders.claim('id', a)
    holders.claim('id', b)
    holders.release('id', a, true)
    expect(log).toEqual(['a ready', 'a superseded'])
    holders.claim('id', c)
    expect(log).toEqual(['a ready', 'a superseded', 'b superseded'])
    answer(0)
    expect(log.at(-1)).toBe('c ready')
  })

  test('of one that is not there', () => {
    holders.discard('id')
    holders.discard('id')
    holders.claim('id', a)
    expect(log).toEqual([])
    answer(0)
    expect(log).toEqual(['a ready'])
    expect(broker).toHaveLength(1)
  })

  test('of one that is on its way out', () => {
    holders.claim('id', a)
    holders.discard('id')
    expect(broker).toHaveLength(0)
    holders.release('id', a, false)
    answer(0)
    holders.claim('id', b)
    expect(log).toEqual(['a ready', 'b ready'])
  })

  test('or not, by a broker that closes without a word: nobody waits for ever', () => {
    holders.discard('id')
    broker[0]?.events.closed()
    holders.claim('id', a)
    expect(log).toEqual(['a ready'])
  })
})
