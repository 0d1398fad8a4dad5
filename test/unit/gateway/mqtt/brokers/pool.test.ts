/** What the pool makes of connections that cannot be made: whose fault that is. How a link behaves: links.test.ts; with real brokers: brokers.test.ts. */

import { Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import type { dial, Dialled, NotDialled } from '#gateway/mqtt/brokers/dial.ts'
import { createPool, type Address } from '#gateway/mqtt/brokers/pool.ts'
import type { Standing } from '#gateway/mqtt/brokers/standing.ts'

type Dial = {
  readonly ip: string
  readonly timeout: number
  readonly done: (r: Dialled | NotDialled) => void
}

const addressOf = (ip: string, said: unknown[], over: Partial<Standing> = {}): Address => ({
  ip,
  standing: {
    up: true,
    doubted: false,
    usable: () => true,
    failed: () => {},
    asked: () => {},
    heard: () => {},
    suspect: () => {},
    [Symbol.dispose]: () => {},
    ...over,
  },
  target: () => ({ ip, port: 1883, host: ip, context: undefined }),
  failed: (failure, { isCertain }) => void said.push([ip, failure, isCertain]),
  connecting: 0,
  waiting: new Set(),
  links: 0,
})

const open = (timeout = 1_000) => {
  let now = 0
  const dials: Dial[] = []
  const fake: typeof dial = ({ target, timeout: given }, done) => {
    dials.push({ ip: target.ip, timeout: given, done })
    return { cancel: () => {} }
  }
  const pool = createPool({ timeout, clock: () => now, dial: fake })
  const events: string[] = []
  return {
    pool,
    dials,
    events,
    later: (ms: number) => (now += ms),
    link: () =>
      pool.open({ data: () => {}, drain: () => {}, closed: () => void events.push('closed') }, undefined),
  }
}
const failing = (over: Partial<NotDialled> = {}): NotDialled => ({
  failure: 'timeout',
  ofClient: false,
  error: undefined,
  ...over,
})
/** @returns the dial of the link that had to wait behind a hundred others */
const afterQueue = (it: ReturnType<typeof open>, waited: number): Dial | undefined => {
  for (let each = 0; each < 101; each += 1) it.link()
  expect(it.dials.length).toBe(100)
  it.later(waited)
  it.dials[0]?.done({ socket: new Socket(), header: undefined })
  return it.dials[100]
}

describe('a connection that cannot be made', () => {
  test.each<[string, Partial<NotDialled>, boolean]>([
    ['a refusal', { failure: 'refused' }, true],
    ['no answer in all the time', {}, true],
    ['TLS', { failure: 'tls' }, true],
    ['TLS, after a PROXY header', { failure: 'tls', ofClient: true }, false],
    ['a reset, after a PROXY header', { failure: 'reset', ofClient: true }, false],
  ])('%s', (_, over, isCertain) => {
    const said: unknown[] = []
    const it = open()
    it.pool.add(addressOf('a', said))
    it.link()
    it.dials[0]?.done(failing(over))
    expect(said).toEqual([['a', over.failure ?? 'timeout', isCertain]])
  })

  test.each([
    [700, 300, true],
    [800, 200, false],
  ])('in what is left after %d ms in our own queue', (waited, left, isCertain) => {
    const said: unknown[] = []
    const it = open()
    it.pool.add(addressOf('a', said))
    const last = afterQueue(it, waited)
    expect(last?.timeout).toBe(left)
    last?.done(failing())
    expect(said).toEqual([['a', 'timeout', isCertain]])
  })

  test('is not tried with next to nothing left, and the broker is not blamed', async () => {
    const said: unknown[] = []
    const it = open()
    it.pool.add(addressOf('a', said))
    expect(afterQueue(it, 950)).toBeUndefined()
    await vi.waitFor(() => expect(it.events).toEqual(['closed']))
    expect(said).toEqual([])
  })
})

test('one that is doubted is used when there is no other', () => {
  const it = open()
  const sick = addressOf('a', [])
  it.pool.add(sick)
  it.pool.add(addressOf('b', []))
  for (let each = 0; each < 4; each += 1) it.link()
  Object.assign(sick.standing, { doubted: true })
  for (let each = 0; each < 3; each += 1) it.link()
  it.dials.at(-1)?.done(failing())
  expect(it.dials.map(({ ip }) => ip)).toEqual(['a', 'b', 'a', 'b', 'b', 'b', 'b', 'a'])
})

test('says when somebody turns to an address', () => {
  const it = open()
  let asked = 0
  it.pool.add(addressOf('a', [], { asked: () => void (asked += 1) }))
  it.link()
  it.link()
  expect(asked).toBe(2)
})

test('an address that is gone is forgotten, also when somebody was on the way to it', async () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const it = open()
  const gone = (): WeakRef<Address> => {
    const address = addressOf('a', [])
    it.pool.add(address)
    it.link()
    it.pool.remove(address)
    const socket = new Socket()
    it.dials.pop()?.done({ socket, header: undefined })
    socket.destroy()
    return new WeakRef(address)
  }
  const left = gone()
  await vi.waitFor(() => expect(it.events).toEqual(['closed']))
  await vi.waitFor(() => {
    gc()
    expect(left.deref()).toBeUndefined()
  })
})
