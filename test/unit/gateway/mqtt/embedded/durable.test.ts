/** What an acknowledgement of the embedded broker is worth, packet by packet: what waits for the disk, what does not, and what a crash leaves. */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { IPublishPacket, Packet } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openEmbeddedBroker, type EmbeddedBroker } from '#gateway/mqtt/embedded/broker.ts'
import { createDisk, type Disk } from '../../../../support/broker-disk.ts'
import { linkClient, type LinkClient } from '../../../../support/broker-link.ts'

let disk: Disk
let broker: EmbeddedBroker
let lines: string[]

const open = (): Promise<EmbeddedBroker> =>
  openEmbeddedBroker({
    store: disk.open(),
    frameLimit: 262_144,
    clock: () => 0,
    log: {
      info: (_: unknown, line: string) => lines.push(line),
      warn: (_: unknown, line: string) => lines.push(line),
    } as never,
    dropped: (what) => lines.push(what),
    expired: () => {},
  })

beforeEach(async () => {
  disk = createDisk()
  lines = []
  broker = await open()
})
const letGo = async (): Promise<void> => {
  disk.held = false
  disk.broken = false
  disk.proceed()
  await broker[Symbol.asyncDispose]()
}
afterEach(letGo)

/** The process dies: what is not on the disk is lost. */
const crash = async (): Promise<void> => {
  const before = broker
  disk.broken = true
  disk.held = false
  disk.proceed()
  await before[Symbol.asyncDispose]()
  disk.broken = false
  broker = await open()
}

const enter = async (
  clientId: string,
  clean: boolean,
  over: Parameters<LinkClient['connect']>[0] = {},
): Promise<LinkClient> => {
  const client = linkClient(broker, clientId)
  expect(await client.connect({ clientId, clean, ...over })).toBe(0)
  return client
}
const publish = (over: Partial<IPublishPacket>): IPublishPacket => ({
  cmd: 'publish',
  topic: 't',
  payload: 'x',
  qos: 1,
  messageId: 5,
  retain: false,
  dup: false,
  ...over,
})
const subscribe = (topic: string, qos: 0 | 1 | 2): Packet => ({
  cmd: 'subscribe',
  messageId: 1,
  subscriptions: [{ topic, qos }],
})
const wanting = async (
  clientId: string,
  topic = 't',
  qos: 0 | 1 | 2 = 2,
  clean = false,
): Promise<LinkClient> => {
  const client = await enter(clientId, clean)
  client.send(subscribe(topic, qos))
  await client.until('suback')
  return client
}
/** all that can happen without the disk has happened */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
}
const show = (packet: Packet): string => {
  if (packet.cmd !== 'publish') return `${packet.cmd} ${packet.messageId ?? ''}`
  const { topic, qos, dup } = packet
  return `publish ${topic} qos${qos}${dup ? ' dup' : ''}`
}
const heard = (client: LinkClient): string[] => (client.waiting as Packet[]).splice(0).map(show)

describe('waits for the disk, or not', () => {
  type Row = readonly [what: string, clean: boolean, send: Packet, answer: string, waits: boolean]
  const rows: readonly Row[] = [
    ['QoS 1 that nobody keeps', true, publish({ topic: 'nobody' }), 'puback 5', false],
    ['QoS 1 for a client with a clean session', true, publish({ topic: 'clean' }), 'puback 5', false],
    ['QoS 1 for a session', true, publish({}), 'puback 5', true],
    ['QoS 1, retained', true, publish({ topic: 'nobody', retain: true }), 'puback 5', true],
    [
      'QoS 1 that ends a retained one that is not there',
      true,
      publish({ topic: 'nobody', retain: true, payload: '' }),
      'puback 5',
      false,
    ],
    [
      'QoS 2 of a clean session that nobody keeps',
      true,
      publish({ topic: 'nobody', qos: 2 }),
      'pubrec 5',
      false,
    ],
    ['QoS 2 of a session, whose id is kept', false, publish({ topic: 'nobody', qos: 2 }), 'pubrec 5', true],
    ['QoS 2 for a session', true, publish({ qos: 2 }), 'pubrec 5', true],
    ['PUBREL of an unknown id', false, { cmd: 'pubrel', messageId: 9 } as Packet, 'pubcomp 9', false],
    ['SUBSCRIBE of a session', false, subscribe('new', 1), 'suback 1', true],
    ['SUBSCRIBE of a session at QoS 0', false, subscribe('new', 0), 'suback 1', true],
    ['SUBSCRIBE of a clean session', true, subscribe('new', 1), 'suback 1', false],
    [
      'UNSUBSCRIBE of a session',
      false,
      { cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['old'] } as Packet,
      'unsuback 1',
      true,
    ],
    ['PINGREQ', false, { cmd: 'pingreq' } as Packet, 'pingresp ', false],
  ]
  test.each(rows)('%s (clean: %s)', async (_, clean, send, answer, waits) => {
    await wanting('keeps')
    await wanting('listens', 'clean', 1, true)
    const client = clean ? await enter('me', true) : await wanting('me', 'old', 1)
    await expect.poll(() => disk.rows.sessions).toBe(clean ? 1 : 2)
    await settle()
    disk.held = true
    client.send(send)
    await settle()
    expect(heard(client)).toEqual(waits ? [] : [answer])
    disk.held = false
    disk.proceed()
    if (waits) await expect.poll(() => heard(client)).toEqual([answer])
  })

  test('an acknowledgement that needs no disk does not overtake one that does', async () => {
    await wanting('keeps')
    const client = await enter('me', true)
    disk.held = true
    client.send(
      publish({ messageId: 1 }),
      publish({ messageId: 2, topic: 'nobody' }),
      publish({ messageId: 3, topic: 'nobody', qos: 2 }),
    )
    await settle()
    expect(heard(client)).toEqual([])
    disk.held = false
    disk.proceed()
    await expect.poll(() => client.waiting.length).toBe(3)
    expect(heard(client)).toEqual(['puback 1', 'puback 2', 'pubrec 3'])
  })

  test('at QoS 1 a delivery does not wait, at QoS 2 it does: a crash must not make it two', async () => {
    const [kept, clean] = [await wanting('keeps'), await wanting('clean', 't', 2, true)]
    const client = await enter('me', true)
    disk.held = true
    client.send(publish({}))
    await settle()
    expect([heard(kept), heard(clean), heard(client)]).toEqual([['publish t qos1'], ['publish t qos1'], []])
    client.send(publish({ qos: 2, messageId: 6 }))
    await settle()
    expect([heard(kept), heard(clean)]).toEqual([[], []])
    disk.held = false
    disk.proceed()
    await expect.poll(() => [kept, clean].flatMap(heard)).toEqual(['publish t qos2', 'publish t qos2'])
  })

  test('PUBREL and PUBCOMP wait for what they end', async () => {
    const kept = await wanting('keeps')
    const client = await wanting('me', 'other')
    client.send(publish({ qos: 2 }))
    await client.until('pubrec')
    const { messageId } = await kept.until('publish')
    disk.held = true
    kept.send({ cmd: 'pubrec', messageId: messageId ?? 0 } as Packet)
    client.send({ cmd: 'pubrel', messageId: 5 } as Packet)
    await settle()
    // and a second one, whose id is gone, too
    client.send({ cmd: 'pubrel', messageId: 5 } as Packet)
    await settle()
    expect([heard(kept), heard(client)]).toEqual([[], []])
    disk.held = false
    disk.proceed()
    await expect.poll(() => [heard(kept), heard(client)].flat()).toContain('pubcomp 5')
  })

  test('a clean session is clean when the one before is gone from the disk', async () => {
    const before = await wanting('me')
    await before.end('finish')
    disk.held = true
    const client = linkClient(broker, 'me')
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'me',
      keepalive: 0,
    })
    await settle()
    expect(client.waiting).toEqual([])
    disk.held = false
    disk.proceed()
    expect(await client.next()).toMatchObject({ cmd: 'connack', sessionPresent: false })
    expect(disk.rows.sessions).toBe(0)
  })

  test('nothing is promised while the disk cannot be written, and all of it once it can', async () => {
    await wanting('keeps')
    const client = await enter('me', true)
    disk.broken = true
    client.send(publish({}), publish({ topic: 'nobody', messageId: 6 }))
    await expect.poll(() => lines).toEqual([expect.stringContaining('cannot be written')])
    expect(heard(client)).toEqual([])
    disk.broken = false
    await expect.poll(() => heard(client)).toEqual(['puback 5', 'puback 6'])
    expect(lines.at(-1)).toContain('can be written again')
  })

  test('clean sessions never come to the disk', async () => {
    const clean = await wanting('clean', 't', 2, true)
    const client = await enter('me', true)
    for (const qos of [0, 1, 2] as const) client.send(publish({ qos, messageId: qos + 1 }))
    await expect.poll(() => heard(clean)).toHaveLength(3)
    await settle()
    expect(disk.commits).toBe(0)
  })
})

describe('after a crash', () => {
  test('queues are whole and in order, sessions present, subscriptions live, retained messages there', async () => {
    const kept = await wanting('keeps', 't/#', 2)
    await kept.end('abort')
    const client = await enter('me', true)
    for (let messageId = 1; messageId <= 20; messageId++)
      client.send(
        publish({
          topic: `t/${messageId}`,
          messageId,
          qos: messageId % 2 === 0 ? 2 : 1,
          retain: messageId === 7,
        }),
      )
    await expect.poll(() => client.waiting.length).toBe(20)
    await crash()
    const again = linkClient(broker, 'keeps')
    again.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: false,
      clientId: 'keeps',
      keepalive: 0,
    })
    expect(await again.next()).toMatchObject({ cmd: 'connack', sessionPresent: true })
    await expect.poll(() => again.waiting.length).toBe(20)
    expect(heard(again)).toEqual(
      Array.from({ length: 20 }, (_, at) => `publish t/${at + 1} qos${at % 2 === 0 ? 1 : 2}`),
    )
    const other = await enter('you', true)
    other.send(publish({ topic: 't/live', qos: 0 }), subscribe('t/7', 0))
    await expect.poll(() => heard(again)).toEqual(['publish t/live qos0'])
    await expect.poll(() => heard(other)).toEqual(['suback 1', 'publish t/7 qos0'])
  })

  test('what may have been sent is sent again with DUP and its packet id, and after PUBREC only PUBREL', async () => {
    const kept = await wanting('keeps')
    const client = await enter('me', true)
    for (const messageId of [1, 2, 3]) client.send(publish({ qos: 2, messageId }))
    const ids: number[] = []
    for (let at = 0; at < 3; at++) ids.push((await kept.until('publish')).messageId ?? 0)
    kept.send({ cmd: 'pubrec', messageId: ids[0] ?? 0 } as Packet)
    await kept.until('pubrel')
    await crash()
    const again = await enter('keeps', false)
    await expect.poll(() => again.waiting.length).toBe(3)
    expect((again.waiting as IPublishPacket[]).map(({ messageId }) => messageId)).toEqual(ids)
    expect(heard(again)).toEqual([`pubrel ${ids[0]}`, 'publish t qos2 dup', 'publish t qos2 dup'])
  })

  test('a QoS 2 message that is sent again is not delivered again', async () => {
    const kept = await wanting('keeps')
    await kept.end('finish')
    const client = await enter('me', false)
    client.send(publish({ qos: 2 }))
    await client.until('pubrec')
    await crash()
    const again = await enter('me', false)
    again.send(publish({ qos: 2, dup: true }))
    await again.until('pubrec')
    again.send({ cmd: 'pubrel', messageId: 5 } as Packet)
    await again.until('pubcomp')
    const reader = await enter('keeps', false)
    await expect.poll(() => heard(reader)).toEqual(['publish t qos2'])
    await settle()
    expect(heard(reader)).toEqual([])
  })

  test('what was not acknowledged may be lost, and the session is as it was before', async () => {
    const kept = await wanting('keeps')
    await kept.end('finish')
    const client = await enter('me', true)
    disk.held = true
    client.send(publish({}))
    await settle()
    expect(heard(client)).toEqual([])
    await crash()
    const reader = await enter('keeps', false)
    await settle()
    expect(heard(reader)).toEqual([])
  })
})

test('what is sent for the first time has no DUP, also when a higher number was sent before two starts', async () => {
  const restart = async (): Promise<void> => {
    await broker[Symbol.asyncDispose]()
    broker = await open()
  }
  const send = async (count: number): Promise<void> => {
    const client = await enter('me', true)
    for (let messageId = 1; messageId <= count; messageId++) client.send(publish({ messageId }))
    for (let at = 0; at < count; at++) await client.until('puback')
  }
  const kept = await wanting('keeps', 't', 1)
  await send(5)
  for (let at = 0; at < 5; at++) {
    const { messageId } = await kept.until('publish')
    kept.send({ cmd: 'puback', messageId: messageId ?? 0 } as Packet)
  }
  await kept.ping()
  await kept.end('finish')
  await restart()
  await send(1)
  await restart()
  const again = await enter('keeps', false)
  await expect.poll(() => heard(again)).toEqual(['publish t qos1'])
})

describe('a disk that cannot be written, for long', () => {
  test('costs no memory for what comes and goes: retained messages of QoS 0 on one topic', async () => {
    const client = await enter('me', true)
    await wanting('keeps')
    disk.broken = true
    const payload = Buffer.alloc(100_000)
    client.send(publish({ retain: true, payload }))
    await expect.poll(() => lines).toHaveLength(1)
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const used = (): number => {
      collect()
      return process.memoryUsage().arrayBuffers
    }
    const before = used()
    for (let at = 0; at < 300; at++) client.send(publish({ qos: 0, retain: true, payload, topic: 'r' }))
    await client.ping()
    // again and again: one collection need not have given back all that it has found
    await expect.poll(() => used() - before).toBeLessThan(10 * payload.length)
  })
})

describe('retained messages that a SUBSCRIBE brings', () => {
  const retain = async (count: number, payload: string | Buffer = 'x'): Promise<void> => {
    const client = await enter('them', true)
    for (let at = 0; at < count; at++)
      client.send(publish({ topic: `r/${at}/x`, retain: true, messageId: at + 1, payload }))
    for (let at = 0; at < count; at++) await client.until('puback')
  }
  const subscribeAll = (...filters: (readonly [string, 0 | 1 | 2])[]): Packet => ({
    cmd: 'subscribe',
    messageId: 2,
    subscriptions: filters.map(([topic, qos]) => ({ topic, qos })),
  })

  test.each([true, false])('come once, at the highest QoS of its filters (clean: %s)', async (clean) => {
    await retain(3)
    const client = await enter('me', clean)
    client.send(subscribeAll(['r/#', 0], ['r/+/x', 2], ['r/1/x', 1], ['+/+/x', 0]))
    await expect.poll(() => client.waiting.length).toBe(4)
    await settle()
    expect(heard(client)).toEqual(['suback 2', ...[0, 1, 2].map((at) => `publish r/${at}/x qos1`)])
    // and again with the next SUBSCRIBE [MQTT-3.8.4-3]
    client.send(subscribeAll(['r/2/x', 0]))
    await expect.poll(() => heard(client)).toEqual(['suback 2', 'publish r/2/x qos1'])
  })

  test.each([0, 1, 2] as const)('all come to a client that is slow, as it reads, QoS %i', async (qos) => {
    await retain(90, Buffer.alloc(10_000))
    const client = await enter('me', true)
    client.stream.pause()
    client.send(subscribeAll(['r/#', qos]))
    // longer than its publishers would wait for it
    await new Promise((resolve) => setTimeout(resolve, 250))
    client.stream.resume()
    await expect.poll(() => client.waiting.length).toBe(91)
    expect(lines).toEqual([])
  })

  test('leave turns to others, and are not handed out of two SUBSCRIBEs at a time', async () => {
    await retain(900)
    const client = await enter('me', true)
    const turns: number[] = []
    let last = 0
    const count = (): void => {
      const { length } = client.waiting
      if (length > last) turns.push(length - last)
      last = length
      if (length < 1_802) setImmediate(count)
    }
    count()
    client.send(subscribeAll(['r/#', 0], ['r/+/x', 0]), subscribeAll(['#', 0]))
    await expect.poll(() => client.waiting.length).toBe(1_802)
    // the SUBACK that is with them not counted
    expect(Math.max(...turns)).toBeLessThan(500)
    expect(new Set(heard(client).slice(-900)).size).toBe(900)
  })
})

describe('what aedes would do otherwise', () => {
  test.each([
    ['an exact filter at a lower QoS', 't', 0, 't/#', 2],
    ['a wildcard at a lower QoS', 't/#', 1, 't', 2],
    ['two wildcards', '+', 1, '#', 2],
  ] as const)('overlapping filters deliver once, at the highest QoS: %s', async (_, one, low, two, high) => {
    for (const clean of [true, false]) {
      const client = await enter(`c${clean}`, clean)
      client.send({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [
          { topic: one, qos: low },
          { topic: two, qos: high },
        ],
      })
      await client.until('suback')
      const other = await enter(`by${clean}`, true)
      other.send(publish({ qos: 2 }))
      await other.until('pubrec')
      await expect.poll(() => heard(client)).toEqual(['publish t qos2'])
      await settle()
      expect(heard(client)).toEqual([])
    }
  })

  test('topics with $ are like others but for wildcards at their beginning, and its own are closed', async () => {
    const client = await enter('me', true)
    const subscriptions = (['#', '$x/#', '$SYS/#', '$share/g/t'] as const).map((topic) => ({
      topic,
      qos: 1 as const,
    }))
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions })
    expect(await client.until('suback')).toMatchObject({ granted: [1, 1, 128, 128] })
    client.send(publish({ topic: '$x/y', qos: 0 }))
    await settle()
    expect(heard(client)).toEqual(['publish $x/y qos0'])
    client.send(publish({ topic: '$SYS/x' }))
    expect(await client.closed()).toEqual([])
  })

  test('a session without subscriptions is present', async () => {
    await (await enter('me', false)).end('finish')
    const client = linkClient(broker, 'me')
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: false,
      clientId: 'me',
      keepalive: 0,
    })
    expect(await client.next()).toMatchObject({ sessionPresent: true })
    expect(broker.sessionsOf('me')).toEqual(['me'])
  })

  test('a retained message that a session is sent waits for its acknowledgement like any other', async () => {
    const client = await enter('me', false)
    client.send(publish({ retain: true }))
    await client.until('puback')
    client.send(subscribe('t', 1))
    expect(await client.until('publish')).toMatchObject({ retain: true, dup: false })
    await client.end('abort')
    const again = await enter('me', false)
    const second = await again.until('publish')
    expect(second).toMatchObject({ retain: true, dup: true })
    again.send({ cmd: 'puback', messageId: second.messageId ?? 0 } as Packet)
    await again.ping()
    await again.end('abort')
    const last = await enter('me', false)
    await settle()
    expect(heard(last)).toEqual([])
  })

  test('a live message does not overtake what waits for a slow client', async () => {
    const kept = await wanting('keeps')
    await kept.end('finish')
    const client = await enter('me', true)
    const payload = Buffer.alloc(20_000)
    for (let messageId = 1; messageId <= 100; messageId++) client.send(publish({ messageId, payload }))
    await expect.poll(() => client.waiting.length).toBe(100)
    const again = await enter('keeps', false)
    again.link.pause()
    for (let messageId = 101; messageId <= 110; messageId++)
      client.send(publish({ messageId, payload: String(messageId) }))
    await expect.poll(() => client.waiting.length).toBe(110)
    again.link.resume()
    await expect.poll(() => again.waiting.length).toBe(110)
    expect((again.waiting as IPublishPacket[]).map(({ messageId }) => messageId)).toEqual(
      Array.from({ length: 110 }, (_, at) => at + 1),
    )
  })

  test('PUBACK comes after the message has gone out to those who are there, and what follows it is later', async () => {
    const client = await enter('me', true)
    client.send(publish({}), subscribe('t', 1))
    await settle()
    expect(heard(client)).toEqual(['puback 5', 'suback 1'])
  })
})
