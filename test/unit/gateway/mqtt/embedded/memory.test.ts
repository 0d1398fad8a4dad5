import { beforeEach, describe, expect, test } from 'vitest'
import { NO_JOURNAL, type Journal } from '#gateway/mqtt/embedded/journal.ts'
import { createMemory, type Memory, type MemoryLimits } from '#gateway/mqtt/embedded/memory.ts'
import type { Session } from '#gateway/mqtt/embedded/session.ts'
import type { Queued } from '#gateway/mqtt/embedded/stored.ts'

const LIMITS: MemoryLimits = {
  queuedPerSession: 3,
  queuedBytesPerSession: 1_000,
  queuedBytes: 2_000,
  incomingPerSession: 2,
  away: 1_000,
  retained: 4,
  retainedBytes: 1_200,
  retainedPerClient: 2,
  retainedBytesPerClient: 1_000,
}

let now = 0
let dropped: string[]
let expired: string[]
let memory: Memory
const make = (over: Partial<MemoryLimits> = {}, journal: Journal = NO_JOURNAL): Memory =>
  createMemory({
    limits: { ...LIMITS, ...over },
    clock: () => now,
    journal,
    dropped: (what, id) => dropped.push(id === undefined || what === 'queue' ? what : `${what} ${id}`),
    expired: (id) => expired.push(id),
    granted: (_, filter) => !filter.startsWith('refused'),
  })
beforeEach(() => {
  dropped = []
  expired = []
  now = 0
  memory = make()
})

let counter = 0
const publish = (topic = 't', qos = 1, payload: string | Buffer = 'x'): ReadonlySet<number> | undefined =>
  memory.sessions.publish({ number: ++counter, topic, payload: Buffer.from(payload), qos })
const session = (id: string): Session => memory.sessions.resume(id).session
/** a session that wants `filter` */
const wants = (id: string, filter = 't', qos = 2): Session => {
  const it = session(id)
  memory.sessions.subscribe(it, filter, qos)
  memory.sessions.activate(it, filter)
  return it
}
const arrive = (id: string, most = 16): void => memory.sessions.arrived(session(id), most)
const queueOf = (id: string): Queued[] => [...session(id).queue.values()]
/** so many messages of 202 bytes, for this session alone */
const fill = (id: string, messages: number): void => {
  wants(id, id)
  for (let at = 0; at < messages; at++) publish(id, 1, 'xy'.slice(0, 2 - (id.length > 1 ? 1 : 0)))
}
const sizes = (...ids: string[]): number[] => ids.map((id) => session(id).queue.size)

describe('a queue', () => {
  test('has messages in order, at the QoS of the subscription, and each has an id of its own', () => {
    wants('lamp-1', 't', 1)
    for (const qos of [2, 1, 2]) publish('t', qos)
    expect(queueOf('lamp-1').map(({ qos, packetId }) => [qos, packetId])).toEqual([
      [1, 1],
      [1, 2],
      [1, 3],
    ])
    expect(queueOf('lamp-1').map(({ message }) => message.number)).toEqual([
      counter - 2,
      counter - 1,
      counter,
    ])
  })

  test('holds one copy of a message, whoever else waits for it', () => {
    for (const id of ['a', 'b', 'c']) wants(id)
    expect(publish()?.size).toBe(3)
    const [[one], [two]] = [queueOf('a'), queueOf('b')]
    expect(one?.message).toBe(two?.message)
    expect(one?.message.refs).toBe(3)
    memory.sessions.acknowledged('a', 1)
    memory.sessions.end('b')
    expect([one?.message.refs, one?.message.gone]).toEqual([1, false])
    memory.sessions.acknowledged('c', 1)
    expect(one?.message.gone).toBe(true)
  })

  test('holds so many, and so many bytes, and says what it does not keep', () => {
    wants('lamp-1')
    for (let at = 0; at < 5; at++) publish()
    expect(sizes('lamp-1')).toEqual([3])
    expect(dropped).toEqual(['queue', 'queue'])
    wants('lamp-2', 'large')
    expect(publish('large', 1, Buffer.alloc(900))).toBeUndefined()
    expect(dropped).toHaveLength(3)
  })

  test('has room again for what is acknowledged', () => {
    wants('lamp-1')
    for (let round = 0; round < 20; round++) {
      publish()
      memory.sessions.acknowledged('lamp-1', queueOf('lamp-1')[0]?.packetId ?? 0)
    }
    expect([dropped, sizes('lamp-1')]).toEqual([[], [0]])
  })

  test('never has one id for two messages, and none above 32767', () => {
    const it = wants('lamp-1')
    publish()
    it.nextId = 0x7fff
    publish()
    publish()
    expect(queueOf('lamp-1').map(({ packetId }) => packetId)).toEqual([1, 0x7fff, 2])
  })

  test('keeps no more of a large read than its own message', () => {
    wants('lamp-1')
    memory.sessions.publish({ number: 1, topic: 't', payload: Buffer.alloc(65_536).subarray(10, 20), qos: 1 })
    expect(queueOf('lamp-1')[0]?.message.payload.buffer.byteLength).toBeLessThan(1_000)
  })

  test('is gone with a clean session, and so are its bytes', () => {
    for (let round = 0; round < 10; round++) {
      for (const id of ['a', 'b', 'c']) wants(id)
      publish()
      for (const id of ['a', 'b', 'c']) memory.sessions.end(id)
    }
    expect([dropped, sizes('a')]).toEqual([[], [0]])
  })
})

describe('when all queues together are full', () => {
  const full = (): Memory =>
    make({ queuedPerSession: 100, queuedBytesPerSession: 10_000, queuedBytes: 2_150 })

  test('the largest session of those away gives way, its oldest messages first, and it is said', () => {
    memory = full()
    fill('s', 2)
    fill('l', 8)
    fill('n', 3)
    expect(dropped).toEqual(['evicted l', 'evicted l', 'evicted l'])
    expect(sizes('s', 'l', 'n')).toEqual([2, 5, 3])
    expect(queueOf('l')[0]?.message.number).toBe(counter - 3 - 4)
  })

  test('those who are away give way before those who are connected', () => {
    memory = full()
    arrive('c')
    fill('c', 6)
    arrive('c')
    fill('a', 4)
    fill('n', 2)
    expect(dropped).toEqual(['evicted a', 'evicted a'])
    // and are as large as others again once they leave
    memory.sessions.left(session('c'))
    fill('n', 1)
    expect(dropped.at(-1)).toBe('evicted c')
  })

  test('a message may lose its place in one queue to the same message in another', () => {
    memory = make({ queuedBytes: 300 })
    for (const id of ['a', 'b']) wants(id)
    publish()
    expect([sizes('a', 'b'), dropped]).toEqual([[0, 1], ['evicted a']])
    expect(queueOf('b')[0]?.message).toMatchObject({ refs: 1, gone: false })
  })
})

describe('a session whose client stays away', () => {
  test('ends, with all that waits for it and all that it subscribed to', () => {
    wants('lamp-1')
    publish()
    now = 999
    memory.sessions.sweep()
    expect(expired).toEqual([])
    now = 1_000
    memory.sessions.sweep()
    expect(expired).toEqual(['lamp-1'])
    expect(publish()).toBeUndefined()
    expect(memory.sessions.find('lamp-1')).toBeUndefined()
  })

  test('is counted from when it left', () => {
    arrive('lamp-1')
    now = 50_000
    memory.sessions.sweep()
    memory.sessions.left(session('lamp-1'))
    now += 999
    memory.sessions.sweep()
    expect(expired).toEqual([])
    now += 1
    memory.sessions.sweep()
    expect(expired).toEqual(['lamp-1'])
  })

  test('is not taken from one who is just coming back', () => {
    session('lamp-1')
    now = 2_000
    expect(memory.sessions.resume('lamp-1').isNew).toBe(false)
    memory.sessions.sweep()
    expect(expired).toEqual([])
  })
})

test.each([
  ['lamp-1', ['lamp-1', 'lamp-1@a', 'lamp-1@b']],
  ['lamp', []],
  ['lamp-1@a', ['lamp-1@a']],
  ['ca/lamp-1@x.org', ['ca/lamp-1@x.org']],
  ['ca/lamp-1', []],
])('sessions of the identity %s', (identity, ids) => {
  for (const id of ['lamp-1', 'lamp-1@a', 'lamp-1@b', 'lamp-2@a', 'ca/lamp-1@x.org']) session(id)
  expect(memory.sessions.sessionsOf(identity)).toEqual(ids)
  for (const id of ids) memory.sessions.end(id)
  expect(memory.sessions.sessionsOf(identity)).toEqual([])
})

describe('sessions of one identity', () => {
  const keep = (...ids: string[]): void => {
    for (const id of ids) {
      arrive(id, 3)
      memory.sessions.left(session(id))
      now++
    }
  }

  test('are so many: one more, and the one that has been away for longest ends, of the same identity', () => {
    keep('other', 'lamp-1@a', 'lamp-1', 'lamp-1@b')
    expect(expired).toEqual([])
    keep('lamp-1@c')
    expect(expired).toEqual(['lamp-1@a'])
    // who was here just now is not the one
    keep('lamp-1', 'lamp-1@d')
    expect(expired).toEqual(['lamp-1@a', 'lamp-1@b'])
    expect(memory.sessions.sessionsOf('lamp-1')).toEqual(['lamp-1', 'lamp-1@c', 'lamp-1@d'])
    expect(memory.sessions.sessionsOf('other')).toEqual(['other'])
  })

  test('do not end while their clients are connected', () => {
    for (const id of ['lamp-1@a', 'lamp-1@b', 'lamp-1@c', 'lamp-1@d']) arrive(id, 3)
    expect(expired).toEqual([])
    memory.sessions.left(session('lamp-1@b'))
    arrive('lamp-1@e', 3)
    expect(expired).toEqual(['lamp-1@b'])
  })
})

test('PUBREC of a message of QoS 1 says nothing of it', () => {
  wants('lamp-1', 't', 1)
  publish('t', 1)
  expect([memory.sessions.released('lamp-1', 1), queueOf('lamp-1')]).toMatchObject([0, [{ released: false }]])
})

test('a session that ends leaves nothing in the journal of what was never written', async () => {
  const notes = new Set<object>()
  const journal: Journal = {
    ...NO_JOURNAL,
    note: (_, row) => void (row.gone && !row.stored ? notes.delete(row) : notes.add(row)),
  }
  memory = make({}, journal)
  const it = wants('lamp-1')
  publish('t', 2)
  memory.arrived({ id: 'lamp-1', clean: false }, 7)
  expect([notes.size, it.queue.size]).toEqual([5, 1])
  memory.sessions.end('lamp-1')
  expect(notes.size).toBe(0)
})

describe('as aedes asks', () => {
  const client = { id: 'lamp-1', clean: false }
  const filters = async () => memory.persistence.subscriptionsByClient(client)

  test('subscriptions are one for each filter, without the refused ones', async () => {
    expect(await filters()).toEqual([])
    // a session without subscriptions is one all the same
    expect(await filters()).toEqual([{ topic: '$SYS', qos: 0 }])
    await memory.persistence.addSubscriptions(client, [
      { topic: 'a/#', qos: 1 },
      { topic: 'a/+', qos: 2 },
      { topic: 'refused', qos: 1 },
    ])
    await memory.persistence.addSubscriptions(client, [{ topic: 'a/#', qos: 0 }])
    expect(await filters()).toEqual([
      { topic: 'a/#', qos: 0 },
      { topic: 'a/+', qos: 2 },
    ])
    publish('a/b', 2)
    expect(queueOf('lamp-1')).toMatchObject([{ qos: 2 }])
    await memory.persistence.removeSubscriptions(client, ['a/+', 'never'])
    expect(publish('a/b', 2)).toBeUndefined()
  })

  test.each([true, false])('QoS 2 ids are remembered until they are released (clean: %s)', async (clean) => {
    const by = { id: 'lamp-1', clean }
    if (!clean) session('lamp-1')
    const { incomingGetPacket, incomingDelPacket } = memory.persistence
    const get = (cmd = 'publish') => incomingGetPacket(by, { cmd, messageId: 3 })
    await expect(get()).rejects.toThrow('no such packet')
    expect([memory.arrived(by, 3), memory.arrived(by, 3)]).toEqual(['new', 'known'])
    expect(await get()).toMatchObject({ messageId: 3 })
    await expect(
      incomingGetPacket({ id: 'lamp-2', clean }, { cmd: 'publish', messageId: 3 }),
    ).rejects.toThrow()
    expect([memory.arrived(by, 4), memory.arrived(by, 5)]).toEqual(['new', 'full'])
    await incomingDelPacket(by, { cmd: 'pubrel', messageId: 3 })
    await expect(get('pubrel')).rejects.toThrow('no such packet')
    expect(memory.arrived(by, 5)).toBe('new')
  })

  test('after PUBREC only PUBREL is left to say', async () => {
    wants('lamp-1')
    publish('t', 2)
    await memory.persistence.outgoingUpdate(client, { cmd: 'pubrel', messageId: 1 })
    expect(queueOf('lamp-1')).toMatchObject([{ released: true }])
    await memory.persistence.outgoingClearMessageId(client, { cmd: 'pubcomp', messageId: 1 })
    // and an id of a message that was not queued takes nothing away
    publish('t', 2)
    await memory.persistence.outgoingClearMessageId(client, { cmd: 'puback', messageId: 0x8001 })
    expect(queueOf('lamp-1')).toHaveLength(1)
  })
})

describe('retained messages', () => {
  const retain = (topic: string, clientId: string, payload = 'x'): boolean =>
    memory.retained.keep(topic, Buffer.from(payload), 1, clientId)
  const kept = (filter = '#'): string[] =>
    Array.from(memory.retained.under(filter), ({ topic, payload }) => `${topic}=${payload.toString()}`)

  test('are one for each topic, and none after an empty one', () => {
    retain('a', 'me', '1')
    retain('a', 'me', '2')
    retain('b', 'me')
    expect(kept()).toEqual(['a=2', 'b=x'])
    expect([retain('a', 'you', ''), retain('a', 'you', '')]).toEqual([true, false])
    expect(kept()).toEqual(['b=x'])
  })

  test('are bounded for each client, and for all', () => {
    for (const topic of ['a', 'b', 'c']) retain(topic, 'me')
    expect(kept()).toEqual(['a=x', 'b=x'])
    for (const topic of ['d', 'e']) retain(topic, 'you')
    retain('f', 'they')
    expect(kept()).toEqual(['a=x', 'b=x', 'd=x', 'e=x'])
    expect(dropped).toEqual(['retained', 'retained'])
    retain('a', 'me', '')
    retain('c', 'me')
    expect(kept().toSorted()).toEqual(['b=x', 'c=x', 'd=x', 'e=x'])
    expect(retain('g', 'them', 'y'.repeat(1_200))).toBe(false)
    expect(dropped).toHaveLength(3)
  })

  test('stay when what should replace them is not kept', () => {
    retain('a', 'me', 'old')
    retain('a', 'me', 'y'.repeat(1_200))
    expect(kept()).toEqual(['a=old'])
    // also of somebody else's, by one who has no room left
    for (const topic of ['b', 'c']) retain(topic, 'you')
    retain('a', 'you', 'new')
    expect(kept('a').concat(dropped)).toEqual(['a=old', 'retained', 'retained'])
  })

  test('may be replaced by one who has reached the limit, and count for whoever replaces them', () => {
    for (const topic of ['a', 'b']) retain(topic, 'me')
    for (const topic of ['a', 'b']) retain(topic, 'me', 'new')
    expect(kept().toSorted()).toEqual(['a=new', 'b=new'])
    retain('a', 'you', 'yours')
    retain('c', 'me')
    expect(kept().toSorted()).toEqual(['a=yours', 'b=new', 'c=x'])
    expect(dropped).toEqual([])
  })

  test('are bounded in bytes for each client too', () => {
    retain('a', 'me', 'y'.repeat(700))
    retain('b', 'me', 'y'.repeat(200))
    retain('b', 'you', 'z')
    expect(kept().map((text) => text.slice(0, 3))).toEqual(['a=y', 'b=z'])
    expect(dropped).toEqual(['retained'])
  })
})
