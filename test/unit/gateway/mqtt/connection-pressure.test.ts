import fc from 'fast-check'
import type { IPublishPacket, Packet } from 'mqtt-packet'
import { generate } from 'mqtt-packet'
import { describe, expect, test, vi } from 'vitest'
import { TYPE } from '#gateway/mqtt/packets.ts'
import { makeSuback } from '#gateway/mqtt/subscribe-packets.ts'
import type { LinkEvents, Upstream } from '#gateway/mqtt/upstream.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import { scriptedUpstream } from '../../../support/scripted-upstream.ts'

const KIB = 1024
const publish = (topic: string, over: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic,
  payload: 'x',
  qos: 0,
  dup: false,
  retain: false,
  ...over,
})
const free = (front: Front): void => {
  front.admission.rules = [{ filter: '#', acts: ['publish', 'subscribe', 'receive'] }]
}
const listen = async (client: MqttClient, filter: string, qos: 0 | 1 = 0): Promise<void> => {
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] })
  await client.until('suback')
}

describe('a client that does not read', () => {
  test.each([0, 1] as const)('delays nobody, at QoS %i, and has its end', async (qos) => {
    await using front = await openFront()
    free(front)
    const deaf = await front.enter('deaf')
    await listen(deaf, 'flood/#', qos)
    deaf.stream.pause()
    const [fast, listener] = [await front.enter('fast'), await front.enter('listener')]
    await listen(listener, 'quick/#')
    const flooders = await Promise.all(Array.from({ length: 4 }, (_, at) => front.enter(`flooder-${at}`)))
    const payload = Buffer.alloc(8 * KIB)
    // 4 × 8 MiB, far beyond every bound on the way
    const flood = flooders.map(async (flooder) => {
      for (let at = 1; at <= 1_024; at++) {
        const one = publish('flood/x', { payload, qos, ...(qos === 0 ? {} : { messageId: at }) })
        if (!flooder.stream.write(generate(one)))
          await new Promise((resolve) => flooder.stream.once('drain', resolve))
      }
      // all of it has been dealt with
      await flooder.ping()
    })
    let worst = 0
    for (let at = 0; at < 50; at++) {
      const began = performance.now()
      fast.send(publish('quick/x', { payload: `${at}` }))
      const packet = await listener.until('publish')
      expect(String(packet.payload)).toBe(`${at}`)
      worst = Math.max(worst, performance.now() - began)
    }
    await Promise.all(flood)
    // a stall by the slow one would be as long as a grace, or a drain timeout: this is only the machine's
    expect(worst).toBeLessThan(1_500)
    if (qos === 0) {
      // alive, and what it missed was counted
      expect(await front.metrics()).toMatch(/dropped_total\{why="slow",desk="gateway"\} \d{3,}/)
      deaf.stream.resume()
      expect((await deaf.ping()).length).toBeGreaterThan(0)
    } else await vi.waitUntil(() => !front.log.every(({ client_id: id }) => id !== 'deaf'))
  })

  test('not even the answers to what it asks: it is not listened to any longer', async () => {
    await using front = await openFront()
    const deaf = await front.enter('lamp-1')
    deaf.stream.pause()
    const question = generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 0 }] })
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => question))
    // until the door takes no more
    let taken = 0
    while (deaf.stream.write(many)) taken += 1_000
    while (
      await Promise.race([
        new Promise((r) => deaf.stream.once('drain', () => r(true))),
        new Promise((r) => setTimeout(r, 200, false)),
      ])
    ) {
      taken += 1_000
      deaf.stream.write(many)
      if (taken > 200_000) break
    }
    expect(taken).toBeLessThan(200_000)
    deaf.stream.resume()
    expect((await deaf.ping()).length).toBeGreaterThanOrEqual(taken)
  })
})

describe('a client that says much at once', () => {
  const suback = (from: number, messageId: number): Buffer =>
    generate({
      cmd: 'subscribe',
      messageId,
      subscriptions: Array.from({ length: 100 }, (_, at) => ({
        topic: `yours/${from + at}`,
        qos: 0 as const,
      })),
    })
  test.each<[string, (at: number) => Buffer, 'publish' | 'subscribe', number, number]>([
    ['tiny messages', (at) => generate(publish(`devices/lamp-1/${at}`)), 'publish', 3_000, 128],
    ['filters that it may not have', (at) => suback(at * 100, at + 1), 'subscribe', 60, 2],
    ['pings', () => generate({ cmd: 'pingreq' }), 'pingreq' as never, 3_000, 128],
  ])('%s: has a share of each turn, and all of it is dealt with', async (_, make, type, count, share) => {
    await using front = await openFront()
    const client = await front.enter('lamp-1')
    const { judgeTopics } = front.admission
    let judged = 0
    front.admission.judgeTopics = (peer, host) => {
      judged++
      return judgeTopics(peer, host)
    }
    client.stream.write(Buffer.concat(Array.from({ length: count }, (__, at) => make(at))))
    const seen = (): number => front.tally.up.packets[TYPE[type]] as number
    let most = 0
    for (let before = 0; before < count;) {
      await new Promise(setImmediate)
      most = Math.max(most, seen() - before)
      before = seen()
    }
    // one turn of ours may see two of the door's
    expect(most).toBeLessThanOrEqual(2 * share)
    await client.ping()
    expect(seen()).toBe(type === ('pingreq' as never) ? count + 1 : count)
    expect(judged).toBeLessThanOrEqual(1)
  })

  test('and then leaves, has said all of it', async () => {
    await using front = await openFront()
    free(front)
    const hears = await front.enter('witness')
    await listen(hears, 'x/#')
    const client = await front.enter('lamp-1')
    const many = Array.from({ length: 1_000 }, (_, at) => generate(publish(`x/${at}`)))
    client.stream.end(Buffer.concat([...many, generate({ cmd: 'disconnect' })]))
    for (let at = 0; at < 1_000; at++) expect((await hears.until('publish')).topic).toBe(`x/${at}`)
  })
})

test('a publisher is held back by a broker that is full, and by nothing else', async () => {
  let events: LinkEvents | undefined
  let room = true
  const written: Buffer[] = []
  const upstream: Upstream = {
    ...scriptedUpstream(),
    sharedSubscriptions: false,
    open: (given) => {
      events = given
      return {
        write: (bytes) => {
          written.push(Buffer.from(bytes))
          if ((bytes[0] as number) >> 4 === 1) setImmediate(() => given.data(Buffer.from('20020000', 'hex')))
          return room
        },
        pause: () => {},
        resume: () => {},
        end: () => setImmediate(() => given.closed()),
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  await using front = await openFront({ makeUpstream: () => Promise.resolve(upstream) })
  const client = await front.enter('lamp-1')
  room = false
  const one = generate(publish('devices/lamp-1/x', { payload: Buffer.alloc(16 * KIB) }))
  let sent = 0
  while (client.stream.write(one)) sent++
  await vi.waitUntil(() => written.length > 1)
  const before = written.length
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  expect(written.length - before).toBeLessThanOrEqual(1)
  room = true
  events?.drain()
  await vi.waitUntil(() => written.filter((bytes) => bytes[0] === 0x30).length >= sent)
})

describe('a broker that misbehaves', () => {
  type Script = (events: LinkEvents, first: Buffer) => void
  const open = (script: Script): Promise<Front> =>
    openFront({
      makeUpstream: () =>
        Promise.resolve<Upstream>({
          ...scriptedUpstream(),
          open: (events) => ({
            write: (bytes) => {
              setImmediate(script, events, Buffer.from(bytes))
              return true
            },
            pause: () => {},
            resume: () => {},
            end: () => setImmediate(() => events.closed()),
          }),
        }),
    })
  const once =
    (hex: string): Script =>
    (events, first) => {
      if (first[0] === 0x10) events.data(Buffer.from(hex, 'hex'))
    }

  test.each<[string, Script, number | undefined]>([
    ['refuses the client', once('20020005'), 3],
    ['closes without a word', (events, first) => first[0] === 0x10 && events.closed(), 3],
    ['says something else', once('d5000000'), 3],
    ['says CONNACK wrongly', once('2003000000'), 3],
    [
      'says too much before its CONNACK',
      (events) => {
        for (let at = 0; at < 10; at++)
          events.data(generate(publish('devices/lamp-1/x', { payload: Buffer.alloc(200 * KIB) })))
      },
      3,
    ],
  ])('%s: CONNACK 3', async (_, script, code) => {
    await using front = await open(script)
    const client = front.dial('lamp-1')
    expect(await client.connect()).toBe(code)
    await client.closed()
    expect(front.open).toBe(0)
    expect(front.live.size()).toBe(0)
  })

  test('sends before its CONNACK: the client hears the CONNACK first', async () => {
    await using front = await open((events, first) => {
      if (first[0] !== 0x10) return
      for (const payload of ['1', '2']) events.data(generate(publish('devices/lamp-1/x', { payload })))
      events.data(
        Buffer.concat([
          Buffer.from('20020100', 'hex'),
          generate(publish('devices/lamp-1/x', { payload: '3' })),
        ]),
      )
    })
    const client = front.dial('lamp-1')
    client.send(connectPacket())
    expect(await client.next()).toMatchObject({ cmd: 'connack', sessionPresent: true })
    for (const payload of ['1', '2', '3'])
      expect(String((await client.until('publish')).payload)).toBe(payload)
  })

  test.each([
    ['a second CONNACK', '20020000'],
    ['a PUBLISH that does not fit', '3003ffff61'],
    ['a delivery nobody may have, without an id', '320400027878'],
    ['something too large', '30ffffff7f'],
  ])('sends %s: the connection ends', async (_, hex) => {
    await using front = await open(once(`20020000${hex}`))
    const client = front.dial('lamp-1')
    client.send(connectPacket())
    await client.closed()
    expect(front.open).toBe(0)
  })

  test('answers a SUBSCRIBE in part: what is missing has failed', async () => {
    await using front = await open((events, first) => {
      if (first[0] === 0x10) events.data(Buffer.from('20020000', 'hex'))
      if (first[0] === 0x82) events.data(makeSuback(4, first.readUInt16BE(2), [2]))
    })
    const client = await front.enter('lamp-1')
    client.send({
      cmd: 'subscribe',
      messageId: 77,
      subscriptions: ['$share/g/devices/lamp-1/a', '#', 'devices/lamp-1/b'].map((topic) => ({
        topic,
        qos: 2 as const,
      })),
    })
    expect(await client.until('suback')).toMatchObject({ messageId: 77, granted: [2, 128, 128] })
  })
})

/** Packets and rubbish, in any order, cut anywhere. */
const pieces = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
    {
      weight: 5,
      arbitrary: fc
        .constantFrom<Packet>(
          connectPacket(),
          connectPacket({ clientId: '' }),
          { cmd: 'pingreq' },
          { cmd: 'disconnect' },
          { cmd: 'puback', messageId: 1 },
          { cmd: 'pubrec', messageId: 2 },
          { cmd: 'pubrel', messageId: 3 },
          { cmd: 'pubcomp', messageId: 4 },
          publish('devices/lamp-1/a', { qos: 2, messageId: 3, retain: true }),
          publish('devices/lamp-1/b', { qos: 1, messageId: 5 }),
          {
            cmd: 'subscribe',
            messageId: 9,
            subscriptions: [
              { topic: 'devices/lamp-1/#', qos: 2 },
              { topic: '#', qos: 0 },
            ],
          },
          { cmd: 'unsubscribe', messageId: 10, unsubscriptions: ['devices/lamp-1/#'] },
        )
        .map((packet) => generate(packet)),
    },
  ),
  { maxLength: 20 },
)

test('whatever a client sends, the door stands, and others are served', async () => {
  await using front = await openFront()
  const other = await front.enter('witness')
  await fc.assert(
    fc.asyncProperty(
      pieces,
      fc.array(fc.nat(200), { maxLength: 6 }),
      fc.boolean(),
      async (parts, places, greeted) => {
        const client = front.dial('lamp-1')
        if (greeted) await client.connect()
        let rest = Buffer.concat(parts)
        for (const place of places) {
          client.stream.write(rest.subarray(0, place))
          rest = rest.subarray(place)
        }
        client.stream.write(rest)
        client.stream.end()
        await client.closed()
        expect(await other.ping()).toEqual([])
      },
    ),
    { numRuns: 150 },
  )
  await vi.waitUntil(() => front.open === 1)
  expect(front.live.size()).toBe(1)
})
