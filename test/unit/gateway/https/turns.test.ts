/** Over sockets that are none, with a clock that the test moves: what is begun, what is not, and who has to go. */

import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import type { Connection, Exchange, Turn } from '#gateway/https/connection.ts'
import { createTurns, type Turns } from '#gateway/https/turns.ts'

const LONGEST = 1_000_000
const PATIENCE = 30_000
const SWEEP = 250

class Fake extends EventEmitter {
  destroyed = false
  writable = true
  writableEnded = false
  writableLength = 0
  bytesWritten = 0
  readonly remoteAddress = '192.0.2.1'
  readonly getSession = (): undefined => undefined
  readonly getPeerX509Certificate = (): undefined => undefined
  readonly isSessionReused = (): boolean => false
  destroy(): void {
    this.destroyed = true
  }
  destroySoon(): void {
    this.writableEnded = true
  }
}

let now: number
let turns: Turns
let served: Connection[]
let failed: unknown[]
/** what becomes of the next request */
let serve: (connection: Connection) => Exchange | undefined
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  now = 0
  served = []
  failed = []
  serve = () => undefined
  turns = createTurns({
    serve: (connection) => {
      served.push(connection)
      return serve(connection)
    },
    idle: () => {},
    failed: (error) => void failed.push(error),
    longest: LONGEST,
    patience: PATIENCE,
    clock: () => now,
  })
})
afterEach(() => {
  turns[Symbol.dispose]()
  vi.useRealTimers()
})

/** A request on it. @returns its response, which is over with 'close' */
const ask = (fake: Fake, over: Partial<IncomingMessage> = {}): EventEmitter => {
  const response = new EventEmitter()
  const request = {
    socket: fake as unknown as TLSSocket,
    httpVersionMinor: 1,
    complete: true,
    headers: {},
    ...over,
  }
  turns.arrive({
    request: request as IncomingMessage,
    response: response as ServerResponse,
    expectation: 'none',
    early: undefined,
  } satisfies Turn)
  return response
}
/** The door looks, and looks again behind that time. */
const pass = (ms: number): void => {
  vi.advanceTimersByTime(SWEEP)
  now += ms
  vi.advanceTimersByTime(SWEEP)
}
const kept = (connection: Connection): undefined => {
  connection.keep()
}
const exchange = (over: Partial<Exchange> = {}): Exchange => ({
  isNamed: true,
  patience: PATIENCE,
  notAfter: Infinity,
  recheck: () => {},
  broken: () => {},
  closed: () => {},
  ...over,
})

test('one after the other where they are kept, one alone where they are not', () => {
  const [one, many] = [new Fake(), new Fake()]
  ask(one).emit('close')
  ask(one)
  serve = kept
  ask(many).emit('close')
  ask(many).emit('close')
  expect(served.length).toBe(3)
})

test.each<[string, Partial<IncomingMessage>, number]>([
  ['open', {}, 2],
  ['close: its rest is still to come', { complete: false, headers: { 'content-length': '9' } }, 1],
  ['close: HTTP/1.0', { httpVersionMinor: 0 }, 1],
])('behind an answer that says %s', (_, over, begun) => {
  const fake = new Fake()
  serve = (connection) => {
    connection.keep()
    connection.fate({ complete: true, headers: {}, httpVersionMinor: 1, ...over } as IncomingMessage)
    return undefined
  }
  const response = ask(fake, over)
  // Node ends the connection, and what was on its way is still read
  response.emit('close')
  ask(fake)
  expect(served.length).toBe(begun)
})

test.each<[string, Partial<Exchange> | undefined, number]>([
  ['an answer of an origin', {}, PATIENCE],
  ['one that is given less time', { patience: 1_000 }, 1_000],
  ["the door's own", undefined, PATIENCE],
])('whoever takes nothing more of %s has to go', (_, over, patience) => {
  const fake = new Fake()
  serve = () => over && exchange(over)
  ask(fake)
  Object.assign(fake, { writableLength: 10, bytesWritten: 100 })
  pass(patience)
  expect(fake.destroyed).toBe(false)
  // one octet
  Object.assign(fake, { writableLength: 9 })
  pass(patience)
  expect(fake.destroyed).toBe(false)
  // more of it to take is none taken
  Object.assign(fake, { writableLength: 19, bytesWritten: 110 })
  pass(1)
  expect(fake.destroyed).toBe(true)
})

test('whoever has taken all is not asked to take more', () => {
  const fake = new Fake()
  serve = () => exchange()
  ask(fake)
  fake.bytesWritten = 100
  for (let at = 0; at < 4; at += 1) pass(PATIENCE * 2)
  expect(fake.destroyed).toBe(false)
})

test('what two ends of a tunnel do not read is theirs', () => {
  const fake = new Fake()
  serve = (connection) => {
    connection.tunnel()
    return exchange()
  }
  ask(fake)
  fake.writableLength = 10
  pass(PATIENCE * 2)
  expect(fake.destroyed).toBe(false)
})

test('nothing lives longer than the longest, with one request neither', () => {
  const fake = new Fake()
  serve = () => exchange()
  ask(fake)
  pass(LONGEST)
  expect(fake.destroyed).toBe(false)
  pass(1)
  expect(fake.destroyed).toBe(true)
})

test.each<[string, (fake: Fake) => void]>([
  [
    'the last answer',
    (fake) => {
      const response = ask(fake)
      fake.writableEnded = true
      response.emit('close')
    },
  ],
  [
    'one within a session that turned out to be the last',
    (fake) => {
      serve = kept
      const response = ask(fake)
      served[0]?.close()
      response.emit('close')
    },
  ],
  [
    'one before the door closes',
    (fake) => {
      serve = kept
      ask(fake).emit('close')
      turns.drain()
    },
  ],
])('whoever does not take the end of %s has ten seconds', (_, end) => {
  const fake = new Fake()
  end(fake)
  pass(10_000)
  expect(fake.destroyed).toBe(false)
  pass(1)
  expect(fake.destroyed).toBe(true)
})

test('a connection whose other end cannot be read ends alone', () => {
  const odd = new FleetError('internal', 'odd')
  const [fake, other] = [new Fake(), new Fake()]
  for (const each of [fake, other])
    Object.assign(each, {
      getSession: () => {
        throw odd
      },
    })
  ask(fake)
  expect(turns.broken(other as unknown as TLSSocket, odd)).toBe(true)
  expect([fake.destroyed, other.destroyed, served.length, failed]).toEqual([true, true, 0, [odd, odd]])
})
