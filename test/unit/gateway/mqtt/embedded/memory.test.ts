import { beforeEach, describe, expect, test } from 'vitest'
import { createMemory, type Memory, type MemoryLimits } from '#gateway/mqtt/embedded/memory.ts'
import type { BrokerPacket } from '#gateway/mqtt/embedded/stored.ts'

const LIMITS: MemoryLimits = {
  queuedPerSession: 3,
  queuedBytesPerSession: 1_000,
  queuedBytes: 2_000,
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
const make = (over: Partial<MemoryLimits> = {}): Memory =>
  createMemory({
    limits: { ...LIMITS, ...over },
    clock: () => now,
    dropped: (what, id) => dropped.push(id === undefined || what === 'queue' ? what : `${what} ${id}`),
    expired: (id) => expired.push(id),
    granted: (_, filter) => !filter.startsWith('refused'),
    pace: () => undefined,
  })
beforeEach(() => {
  dropped = []
  expired = []
  now = 0
  memory = make()
})

let counter = 0
const message = (over: Partial<BrokerPacket> = {}): BrokerPacket => ({
  cmd: 'publish',
  brokerId: 'b',
  brokerCounter: ++counter,
  topic: 't',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  dup: false,
  ...over,
})
const all = async (stream: AsyncIterable<BrokerPacket>): Promise<BrokerPacket[]> => {
  const packets: BrokerPacket[] = []
  for await (const packet of stream) packets.push(packet)
  return packets
}
const client = { id: 'lamp-1' }
const to = (id: string, qos = 2) => ({ clientId: id, topic: 't', qos })
/** a new connection of the session, and what it is sent */
const waiting = async (id = 'lamp-1'): Promise<BrokerPacket[]> => {
  await memory.subscriptionsByClient({ id })
  return all(memory.outgoingStream({ id }))
}
/** a session with so many messages of 202 bytes */
const fill = async (id: string, messages: number): Promise<void> => {
  for (let at = 0; at < messages; at++)
    await memory.outgoingEnqueueCombi([to(id)], message({ payload: Buffer.from(id.slice(0, 1)) }))
}

describe('a queue', () => {
  test('gives messages in order, at the QoS of the subscription', async () => {
    const [one, two] = [message({ qos: 2 }), message({ qos: 1 })]
    await memory.outgoingEnqueueCombi([to('lamp-1', 1), to('lamp-2')], one)
    await memory.outgoingEnqueueCombi([to('lamp-1', 1)], two)
    expect((await waiting()).map(({ brokerCounter, qos }) => [brokerCounter, qos])).toEqual([
      [one.brokerCounter, 1],
      [two.brokerCounter, 1],
    ])
  })

  test('holds so many, and so many bytes, and says what it does not keep', async () => {
    for (let at = 0; at < 5; at++) await memory.outgoingEnqueueCombi([to('lamp-1')], message())
    expect(await waiting()).toHaveLength(3)
    expect(dropped).toEqual(['queue', 'queue'])
    const large = message({ payload: Buffer.alloc(900) })
    await memory.outgoingEnqueueCombi([to('lamp-2')], large)
    expect(await waiting('lamp-2')).toEqual([])
    expect(dropped).toHaveLength(3)
  })

  test('has room again for what is acknowledged', async () => {
    for (let round = 0; round < 20; round++) {
      const packet = message({ messageId: round + 1 })
      await memory.outgoingEnqueueCombi([to('lamp-1')], packet)
      await memory.outgoingUpdate(client, packet)
      expect(await memory.outgoingClearMessageId(client, { messageId: round + 1 })).toMatchObject({
        topic: 't',
      })
    }
    expect(dropped).toEqual([])
    expect(await waiting()).toEqual([])
  })

  test('sends again with DUP what was sent and not acknowledged, and with its id', async () => {
    const [sent, kept] = [message(), message()]
    for (const packet of [sent, kept]) await memory.outgoingEnqueueCombi([to('lamp-1')], packet)
    await memory.subscriptionsByClient(client)
    await memory.outgoingUpdate(client, { ...sent, messageId: 9 })
    expect((await waiting()).map(({ dup, messageId }) => [dup, messageId])).toEqual([
      [true, 9],
      [false, undefined],
    ])
  })

  test('does not send what this very connection has had already', async () => {
    const packet = message()
    await memory.subscriptionsByClient(client)
    await memory.outgoingEnqueueCombi([to('lamp-1')], packet)
    const stream = memory.outgoingStream(client)
    await memory.outgoingUpdate(client, { ...packet, messageId: 9 })
    expect(await all(stream)).toEqual([])
  })

  test('says only PUBREL again after PUBREC', async () => {
    const packet = message({ qos: 2, messageId: 5 })
    await memory.outgoingEnqueueCombi([to('lamp-1')], packet)
    await memory.outgoingUpdate(client, packet)
    await memory.outgoingUpdate(client, { ...message({ cmd: 'pubrel' }), messageId: 5 })
    expect(await waiting()).toMatchObject([{ cmd: 'pubrel', messageId: 5 }])
    await memory.outgoingClearMessageId(client, { messageId: 5 })
    expect(await waiting()).toEqual([])
  })

  test('gives a message that it does not hold no id of one that it holds', async () => {
    const [held, other] = [message({ messageId: 7 }), message({ messageId: 7 })]
    await memory.outgoingEnqueueCombi([to('lamp-1')], held)
    for (const packet of [held, other]) await memory.outgoingUpdate(client, packet)
    expect([held.messageId, other.messageId]).toEqual([7, 8])
    await memory.outgoingClearMessageId(client, { messageId: 8 })
    expect(await waiting()).toHaveLength(1)
  })

  test('never has one id for two messages', async () => {
    const [one, two] = [message({ messageId: 65_535 }), message({ messageId: 65_535 })]
    for (const packet of [one, two]) {
      await memory.outgoingEnqueueCombi([to('lamp-1')], packet)
      await memory.outgoingUpdate(client, packet)
    }
    expect([one.messageId, two.messageId]).toEqual([65_535, 1])
    await memory.outgoingClearMessageId(client, { messageId: 65_535 })
    expect(await waiting()).toMatchObject([{ brokerCounter: two.brokerCounter, messageId: 1 }])
  })

  test('loses nothing to a delivery that was not made', async () => {
    const packet = message()
    await memory.outgoingEnqueueCombi([to('lamp-1')], packet)
    // as aedes says it
    await memory.outgoingClearMessageId(client, {})
    expect(await waiting()).toHaveLength(1)
  })

  test('keeps no more of a large read than its own message', async () => {
    const large = Buffer.alloc(65_536)
    await memory.outgoingEnqueueCombi([to('lamp-1')], message({ payload: large.subarray(10, 20) }))
    expect((await waiting())[0]?.payload.buffer.byteLength).toBeLessThan(1_000)
  })

  test('is gone with a clean session, and so are its bytes', async () => {
    for (let round = 0; round < 10; round++) {
      for (const id of ['a', 'b', 'c']) await memory.outgoingEnqueueCombi([to(id)], message())
      for (const id of ['a', 'b', 'c']) await memory.cleanSubscriptions({ id })
    }
    expect(dropped).toEqual([])
    expect(await waiting()).toEqual([])
  })
})

describe('when all queues together are full', () => {
  const counts = async (...ids: string[]): Promise<number[]> =>
    Promise.all(ids.map(async (id) => (await waiting(id)).length))
  const full = (): Memory =>
    make({ queuedPerSession: 100, queuedBytesPerSession: 10_000, queuedBytes: 2_020 })

  test('the largest session of those away gives way, its oldest messages first, and it is said', async () => {
    memory = full()
    await fill('small', 2)
    await fill('large', 8)
    await fill('newcomer', 3)
    expect(dropped).toEqual(['evicted large', 'evicted large', 'evicted large'])
    expect(await counts('small', 'large', 'newcomer')).toEqual([2, 5, 3])
    const [first] = await waiting('large')
    expect(first?.brokerCounter).toBe(counter - 3 - 4)
  })

  test('those who are away give way before those who are connected', async () => {
    memory = full()
    await memory.subscriptionsByClient({ id: 'connected' })
    memory.arrived('connected')
    await fill('connected', 6)
    await fill('away', 4)
    await fill('newcomer', 2)
    expect(dropped).toEqual(['evicted away', 'evicted away'])
    expect(await counts('connected', 'away', 'newcomer')).toEqual([6, 2, 2])
    // and are as large as others again once they leave
    memory.left('connected')
    await fill('newcomer', 1)
    expect(dropped.at(-1)).toBe('evicted connected')
  })

  test('when all of them are connected the largest gives way, and never to one that has more', async () => {
    memory = full()
    for (const id of ['hog', 'modest']) {
      await memory.subscriptionsByClient({ id })
      memory.arrived(id)
    }
    await fill('modest', 1)
    await fill('hog', 9)
    await fill('modest', 1)
    expect(dropped).toEqual(['evicted hog'])
    await memory.outgoingEnqueueCombi([to('hog')], message({ payload: Buffer.alloc(1_000) }))
    expect(dropped).toEqual(['evicted hog', 'queue'])
    expect(await counts('modest', 'hog')).toEqual([2, 8])
  })
})

describe('a session whose client stays away', () => {
  test('ends, with all that waits for it and all that it subscribed to', async () => {
    await memory.addSubscriptions(client, [{ topic: 't', qos: 1 }])
    await fill('lamp-1', 2)
    now = 999
    memory.sweep()
    expect(expired).toEqual([])
    now = 1_000
    memory.sweep()
    expect(expired).toEqual(['lamp-1'])
    expect(await memory.subscriptionsByTopic('t')).toEqual([])
    expect(await waiting()).toEqual([])
  })

  test('is counted from when it left', async () => {
    await memory.subscriptionsByClient(client)
    memory.arrived('lamp-1')
    now = 50_000
    memory.sweep()
    expect(expired).toEqual([])
    memory.left('lamp-1')
    now += 999
    memory.sweep()
    expect(expired).toEqual([])
    now += 1
    memory.sweep()
    expect(expired).toEqual(['lamp-1'])
  })

  test('is not taken from one who is just coming back', async () => {
    await memory.addSubscriptions(client, [{ topic: 't', qos: 1 }])
    now = 2_000
    expect(await memory.subscriptionsByClient(client)).toHaveLength(1)
    memory.sweep()
    expect(expired).toEqual([])
  })
})

describe('subscriptions', () => {
  test('are found by topic, one for each client, at the highest QoS', async () => {
    await memory.addSubscriptions(client, [
      { topic: 'a/#', qos: 1 },
      { topic: 'a/+', qos: 2 },
      { topic: 'a/b', qos: 0 },
    ])
    await memory.addSubscriptions({ id: 'lamp-2' }, [{ topic: 'a/b', qos: 1 }])
    const found = await memory.subscriptionsByTopic('a/b')
    expect(found.map(({ clientId, qos }) => `${clientId} ${qos}`).toSorted()).toEqual([
      'lamp-1 2',
      'lamp-2 1',
    ])
    await memory.removeSubscriptions(client, ['a/#', 'a/+', 'never'])
    expect(await memory.subscriptionsByTopic('a/b')).toMatchObject([{ clientId: 'lamp-2' }])
    expect(await memory.subscriptionsByClient(client)).toEqual([{ topic: 'a/b', qos: 0 }])
  })

  test('at QoS 0 are remembered, and queue nothing', async () => {
    await memory.addSubscriptions(client, [{ topic: 'a', qos: 1 }])
    await memory.addSubscriptions(client, [{ topic: 'a', qos: 0 }])
    expect(await memory.subscriptionsByTopic('a')).toEqual([])
    expect(await memory.subscriptionsByClient(client)).toEqual([{ topic: 'a', qos: 0 }])
  })

  test('that were refused are not kept', async () => {
    await memory.addSubscriptions(client, [
      { topic: 'refused', qos: 1 },
      { topic: 'a', qos: 1 },
    ])
    expect(await memory.subscriptionsByClient(client)).toEqual([{ topic: 'a', qos: 1 }])
  })
})

describe('retained messages', () => {
  const retain = (topic: string, clientId: string, payload = 'x'): Promise<void> =>
    memory.storeRetained(message({ topic, clientId, payload: Buffer.from(payload) }))
  const kept = async (filter = '#'): Promise<string[]> =>
    (await all(memory.createRetainedStreamCombi([filter]))).map(
      ({ topic, payload }) => `${topic}=${payload.toString()}`,
    )

  test('are one for each topic, and none after an empty one', async () => {
    await retain('a', 'me', '1')
    await retain('a', 'me', '2')
    await retain('b', 'me')
    expect(await kept()).toEqual(['a=2', 'b=x'])
    await retain('a', 'you', '')
    expect(await kept()).toEqual(['b=x'])
  })

  test('are bounded for each client, and for all', async () => {
    for (const topic of ['a', 'b', 'c']) await retain(topic, 'me')
    expect(await kept()).toEqual(['a=x', 'b=x'])
    for (const topic of ['d', 'e']) await retain(topic, 'you')
    await retain('f', 'they')
    expect(await kept()).toEqual(['a=x', 'b=x', 'd=x', 'e=x'])
    expect(dropped).toEqual(['retained', 'retained'])
    await retain('a', 'me', '')
    await retain('c', 'me')
    expect((await kept()).toSorted()).toEqual(['b=x', 'c=x', 'd=x', 'e=x'])
    await retain('g', 'them', 'y'.repeat(1_200))
    expect(dropped).toHaveLength(3)
  })

  test('stay when what should replace them is not kept', async () => {
    await retain('a', 'me', 'old')
    await retain('a', 'me', 'y'.repeat(1_200))
    expect(await kept()).toEqual(['a=old'])
    // also of somebody else's, by one who has no room left
    for (const topic of ['b', 'c']) await retain(topic, 'you')
    await retain('a', 'you', 'new')
    expect((await kept('a')).concat(dropped)).toEqual(['a=old', 'retained', 'retained'])
  })

  test('may be replaced by one who has reached the limit', async () => {
    for (const topic of ['a', 'b']) await retain(topic, 'me')
    for (const topic of ['a', 'b']) await retain(topic, 'me', 'new')
    expect((await kept()).toSorted()).toEqual(['a=new', 'b=new'])
    expect(dropped).toEqual([])
    // and count for whoever replaces them
    await retain('a', 'you', 'yours')
    await retain('c', 'me')
    expect((await kept()).toSorted()).toEqual(['a=yours', 'b=new', 'c=x'])
  })

  test('are bounded in bytes for each client too', async () => {
    await retain('a', 'me', 'y'.repeat(700))
    await retain('b', 'me', 'y'.repeat(200))
    await retain('b', 'you', 'z')
    expect((await kept()).map((text) => text.slice(0, 3))).toEqual(['a=y', 'b=z'])
    expect(dropped).toEqual(['retained'])
  })
})

test('QoS 2 ids are remembered until they are released', async () => {
  const id = { messageId: 3 }
  await expect(memory.incomingGetPacket(client, id)).rejects.toThrow('no such packet')
  await memory.incomingStorePacket(client, id)
  expect(await memory.incomingGetPacket(client, id)).toBe(id)
  await expect(memory.incomingGetPacket({ id: 'lamp-2' }, id)).rejects.toThrow('no such packet')
  await memory.incomingDelPacket(client, id)
  await expect(memory.incomingGetPacket(client, id)).rejects.toThrow('no such packet')
  await memory.incomingStorePacket(client, id)
  await memory.cleanIncoming(client)
  await expect(memory.incomingGetPacket(client, id)).rejects.toThrow('no such packet')
})
