import { beforeEach, describe, expect, test } from 'vitest'
import {
  createMemory,
  type BrokerPacket,
  type Memory,
  type MemoryLimits,
} from '#gateway/mqtt/embedded/memory.ts'

const LIMITS: MemoryLimits = {
  queuedPerSession: 3,
  queuedBytesPerSession: 1_000,
  queuedBytes: 2_000,
  retained: 4,
  retainedPerClient: 2,
  retainedBytes: 1_200,
}

let dropped: string[]
let memory: Memory
const make = (over: Partial<MemoryLimits> = {}): Memory =>
  createMemory({
    limits: { ...LIMITS, ...over },
    dropped: (what) => dropped.push(what),
    granted: (_, filter) => !filter.startsWith('refused'),
    pace: () => undefined,
  })
beforeEach(() => {
  dropped = []
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
const waiting = async (): Promise<BrokerPacket[]> => {
  await memory.subscriptionsByClient(client)
  return all(memory.outgoingStream(client))
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
    expect(memory.isQueued('lamp-2', large.brokerCounter)).toBe(false)
    memory = make({ queuedBytes: 500 })
    for (const id of ['a', 'b', 'c']) await memory.outgoingEnqueueCombi([to(id)], message())
    expect(dropped).toHaveLength(4)
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

  test('leave their topic when they are too large, so that nobody takes the old one for new', async () => {
    await retain('a', 'me', 'old')
    await retain('a', 'me', 'y'.repeat(1_200))
    expect(await kept()).toEqual([])
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
