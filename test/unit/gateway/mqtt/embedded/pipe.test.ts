import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Pipe, type BrokerClient } from '#gateway/mqtt/embedded/pipe.ts'

const KIB = 1024
const BACKLOG = 1024 * KIB

let heard: Buffer[]
let told: string[]
let pipe: Pipe
let turn: Pipe[]
let client: { -readonly [K in keyof BrokerClient]: BrokerClient[K] }

const nextTurn = (): void => {
  for (const one of turn.splice(0)) one.flush()
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  heard = []
  // what an earlier test's pipe still has to say is not ours
  const mine: string[] = []
  told = mine
  turn = []
  pipe = new Pipe(
    {
      data: (bytes) => void heard.push(bytes),
      drain: () => void mine.push('drain'),
      closed: () => void mine.push('closed'),
    },
    { backlog: BACKLOG },
    (one) => void turn.push(one),
  )
  client = {
    closed: false,
    connected: true,
    connecting: false,
    close: vi.fn((done?: () => void) => {
      // as aedes does: everything first, the connection last
      if (client.closed) return done?.()
      client.closed = true
      client.connected = false
      pipe.conn.destroy()
      done?.()
    }),
  }
  pipe.attach(client)
  pipe.conn.on('drain', () => told.push('broker drain'))
  pipe.conn.on('error', () => told.push('error'))
})
afterEach(() => void vi.useRealTimers())

describe('from the broker', () => {
  test('crumbs are gathered, and strings are bytes', () => {
    for (const crumb of [Buffer.from('a'), 'é', Buffer.from('c')]) expect(pipe.conn.write(crumb)).toBe(true)
    expect(heard).toEqual([])
    nextTurn()
    expect(heard.map(String)).toEqual(['aéc'])
    nextTurn()
    expect(heard).toHaveLength(1)
  })

  test('nothing comes to one that is paused, and all of it after', () => {
    pipe.pause()
    pipe.conn.write('a')
    nextTurn()
    expect(heard).toEqual([])
    pipe.resume()
    pipe.conn.write('b')
    nextTurn()
    expect(heard.map(String)).toEqual(['ab'])
  })

  test('what has waited long comes in pieces, one a turn, and all of it in order', () => {
    pipe.pause()
    const crumbs = Array.from({ length: 100_000 }, (_, at) => Buffer.from(String(at).padStart(8, '0')))
    for (const crumb of crumbs) pipe.conn.write(crumb)
    pipe.resume()
    for (let turns = 1; heard.reduce((sum, { length }) => sum + length, 0) < 800_000; turns++) {
      nextTurn()
      expect(heard).toHaveLength(turns)
      expect(heard.at(-1)?.length).toBeLessThanOrEqual(300 * KIB)
    }
    expect(heard).toHaveLength(4)
    expect(Buffer.concat(heard).equals(Buffer.concat(crumbs))).toBe(true)
    nextTurn()
    expect(heard).toHaveLength(4)
  })

  test('a broker that says much at once waits, and goes on', () => {
    expect(pipe.conn.write(Buffer.alloc(200 * KIB))).toBe(true)
    expect(pipe.conn.write(Buffer.alloc(100 * KIB))).toBe(false)
    nextTurn()
    expect(told).toEqual(['broker drain'])
  })

  test('a client that does not read makes the broker wait a moment, and only once', () => {
    pipe.pause()
    expect(pipe.conn.write(Buffer.alloc(300 * KIB))).toBe(false)
    expect(pipe.slow).toBe(false)
    vi.advanceTimersByTime(199)
    expect(told).toEqual([])
    vi.advanceTimersByTime(1)
    expect(told).toEqual(['broker drain'])
    expect(pipe.slow).toBe(true)
    expect(pipe.conn.write(Buffer.alloc(KIB))).toBe(true)
    // it reads again
    pipe.resume()
    nextTurn()
    expect(pipe.slow).toBe(false)
    // and stops again
    pipe.pause()
    expect(pipe.conn.write(Buffer.alloc(300 * KIB))).toBe(true)
    expect(pipe.slow).toBe(true)
  })

  test('a client that reads again in time was not slow', () => {
    pipe.pause()
    expect(pipe.conn.write(Buffer.alloc(300 * KIB))).toBe(false)
    vi.advanceTimersByTime(150)
    pipe.resume()
    nextTurn()
    expect(told).toEqual(['broker drain'])
    vi.advanceTimersByTime(1_000)
    expect(pipe.slow).toBe(false)
  })

  test('a backlog beyond all bounds ends the connection', async () => {
    pipe.pause()
    for (let at = 0; at < 4; at++) pipe.conn.write(Buffer.alloc(256 * KIB))
    expect(pipe.conn.destroyed).toBe(false)
    pipe.conn.write('x')
    // in the middle of a publication it may not end
    expect(pipe.conn.destroyed).toBe(false)
    await new Promise(setImmediate)
    expect(pipe.conn.destroyed).toBe(true)
    // what aedes still has to say to it is taken, and forgotten
    expect(pipe.conn.write('y')).toBe(true)
  })

  test('a queue is paced by what the client takes', () => {
    let went = 0
    expect(pipe.hasRoom).toBe(true)
    pipe.pause()
    pipe.conn.write(Buffer.alloc(256 * KIB))
    expect(pipe.hasRoom).toBe(false)
    pipe.whenEmpty(() => went++)
    pipe.resume()
    expect(went).toBe(0)
    nextTurn()
    expect([went, pipe.hasRoom]).toEqual([1, true])
    nextTurn()
    expect(went).toBe(1)
  })

  test.each([200, 300])(
    'of one that took all and paused at that (%i KiB), all go on when it reads again, and it is not slow any more',
    async (kib) => {
      let went = 0
      pipe = new Pipe(
        {
          data: () => pipe.pause(),
          drain: () => {},
          closed: () => {},
        },
        { backlog: BACKLOG },
        (one) => void turn.push(one),
      )
      pipe.conn.write(Buffer.alloc(kib * KIB))
      if (kib > 256) pipe.goOn(() => went++)
      else went++
      pipe.whenEmpty(() => went++)
      nextTurn()
      // before the broker's own look at how long it waits
      pipe.resume()
      nextTurn()
      await new Promise(setImmediate)
      expect(went).toBe(2)
      // and slow, once, with nothing left to be said to it
      pipe.pause()
      pipe.conn.write(Buffer.alloc(300 * KIB))
      vi.advanceTimersByTime(200)
      expect(pipe.slow).toBe(true)
      pipe.resume()
      nextTurn()
      pipe.resume()
      nextTurn()
      expect(pipe.slow).toBe(false)
    },
  )

  test('its publishers wait for a client that does not read, once, and until it goes', () => {
    let went = 0
    pipe.goOn(() => went++)
    expect(went).toBe(1)
    pipe.pause()
    pipe.conn.write(Buffer.alloc(300 * KIB))
    pipe.goOn(() => went++)
    expect(went).toBe(1)
    vi.advanceTimersByTime(200)
    expect(went).toBe(2)
    pipe.goOn(() => went++)
    expect(went).toBe(3)
  })

  test('its publishers wait no longer than that for one that stops to read while they wait', async () => {
    let went = 0
    pipe.conn.write(Buffer.alloc(300 * KIB))
    pipe.goOn(() => went++)
    pipe.pause()
    await new Promise(setImmediate)
    nextTurn()
    vi.advanceTimersByTime(199)
    expect(went).toBe(0)
    vi.advanceTimersByTime(1)
    expect(went).toBe(1)
  })

  test('its publishers go on when it goes', () => {
    let went = 0
    pipe.pause()
    pipe.conn.write(Buffer.alloc(300 * KIB))
    pipe.goOn(() => went++)
    pipe.end('abort')
    expect(went).toBe(1)
  })
})

describe('to the broker', () => {
  test('in order, and no more than it takes', async () => {
    expect(pipe.write(Buffer.from('a'))).toBe(true)
    expect(pipe.write(Buffer.alloc(100 * KIB))).toBe(false)
    expect(String(pipe.conn.read())).toBe('a')
    expect(told).toEqual([])
    await Promise.resolve()
    expect((pipe.conn.read() as Buffer).length).toBe(100 * KIB)
    expect(told).toEqual(['drain'])
  })

  test('one piece at a time: none while the one before may still be being read, and all of them in the end', async () => {
    const read: string[] = []
    pipe.conn.on('readable', () => {
      for (let again = 0; again < 3; again++) {
        const bytes = pipe.conn.read() as Buffer | null
        read.push(bytes === null ? '-' : String(bytes))
      }
    })
    for (const piece of ['a', 'b', 'c']) pipe.write(Buffer.from(piece))
    await new Promise(setImmediate)
    expect(read.join('')).toMatch(/^a--b--c--/)
  })

  test('nothing is said of more while the broker is busy with what it has read, and all of it comes in the end', async () => {
    const read: string[] = []
    const busy = { _parsingBatch: 1 }
    pipe.attach(Object.assign(client, busy))
    const take = (): void => {
      const bytes = pipe.conn.read()
      if (bytes !== null) read.push(String(bytes))
    }
    pipe.conn.on('readable', take)
    pipe.write(Buffer.from('a'))
    await new Promise(setImmediate)
    pipe.write(Buffer.from('b'))
    await new Promise(setImmediate)
    expect(read).toEqual(['a'])
    // what it has read last was the middle of a packet: then it does not ask
    Object.assign(client, { _parsingBatch: 0 })
    pipe.write(Buffer.from('c'))
    await new Promise(setImmediate)
    expect(read).toEqual(['a', 'b', 'c'])
  })

  test('an abort is read after what came before it', async () => {
    const ended = new Promise<void>((resolve) => void pipe.conn.on('end', resolve))
    pipe.write(Buffer.from('last words'))
    pipe.end('abort')
    pipe.write(Buffer.from('never'))
    expect(pipe.willVoid).toBe(false)
    expect(String(pipe.conn.read())).toBe('last words')
    pipe.conn.read()
    await ended
    expect(client.close).not.toHaveBeenCalled()
  })

  test('an end in order makes the will void, whatever else is read', () => {
    pipe.end('finish')
    expect(pipe.willVoid).toBe(true)
    expect(client.close).not.toHaveBeenCalled()
  })

  test('a drop is at once', async () => {
    pipe.write(Buffer.from('unread'))
    pipe.end('drop')
    expect(pipe.willVoid).toBe(true)
    expect(client.close).toHaveBeenCalledOnce()
    await vi.waitUntil(() => told.includes('closed'))
  })

  test('a drop after an end in order is still a drop', () => {
    pipe.end('abort')
    pipe.end('drop')
    expect(pipe.willVoid).toBe(true)
    expect(client.close).toHaveBeenCalledOnce()
  })

  test('a broker that does not read the end is not waited for for ever', () => {
    pipe.end('finish')
    vi.advanceTimersByTime(4_999)
    expect(client.close).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(client.close).toHaveBeenCalledOnce()
    expect(told).toEqual(['closed'])
  })
})

test('closed is said once, after the broker has done with the client', async () => {
  // DISCONNECT: aedes destroys the connection first, and puts the client away after
  pipe.conn.destroy()
  await new Promise(setImmediate)
  expect(told).toEqual([])
  client.close()
  await new Promise(setImmediate)
  expect(told).toEqual(['closed'])
  pipe.end('drop')
  await new Promise(setImmediate)
  expect(told).toEqual(['closed'])
})
