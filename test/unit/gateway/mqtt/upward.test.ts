import { describe, expect, test } from 'vitest'
import type { LocalTopics } from '#gateway/mqtt/local-topics.ts'
import { number16, packet, text16, type Level } from '#gateway/mqtt/packets.ts'
import { userProperty, writeProperties, type Property } from '#gateway/mqtt/properties.ts'
import { makePublish, readPublish } from '#gateway/mqtt/publish-packet.ts'
import { makeSubscribe, makeUnsubscribe } from '#gateway/mqtt/subscribe-packets.ts'
import { createJudges, type Judges } from '../../../support/mqtt-judges.ts'

const LEVELS = [3, 4, 5] as const
const MINE = 'devices/lamp-1/x'
const YOURS = 'devices/lamp-2/x'

type Message = {
  readonly qos?: 0 | 1 | 2
  readonly id?: number
  readonly dup?: boolean
  readonly properties?: readonly Property[]
}

const publish = (level: Level, topic: string, o: Message = {}): Buffer => {
  const bytes = makePublish({
    level,
    topic,
    payload: Buffer.from('p'),
    ...(o.qos === undefined ? {} : { qos: o.qos, id: o.id ?? 7 }),
    properties: writeProperties(o.properties ?? []),
  })
  if (o.dup === true) bytes[0] = (bytes[0] as number) | 8
  return bytes
}
const alias = (value: number): Property => ({ name: 'topicAlias', value })
const responseTo = (value: string): Property => ({ name: 'responseTopic', value })
const subscribe = (level: Level, ...filters: string[]): Buffer =>
  makeSubscribe(level, { id: 9, filters: filters.map((filter) => ({ filter, qos: 1, options: 1 })) })
const hex = (bytes: Buffer): string => bytes.toString('hex')

describe.each(LEVELS)('MQTT level %d: what is allowed', (level) => {
  test.each<[string, () => Buffer]>([
    ['PUBLISH, QoS 0', () => publish(level, MINE)],
    ['QoS 1', () => publish(level, MINE, { qos: 1 })],
    ['QoS 2', () => publish(level, MINE, { qos: 2 })],
    ['PUBACK', () => Buffer.from('40020007', 'hex')],
    ['PUBREC', () => Buffer.from('50020007', 'hex')],
    ['PUBREL', () => Buffer.from('62020007', 'hex')],
    ['PUBCOMP', () => Buffer.from('70020007', 'hex')],
    ['SUBSCRIBE', () => subscribe(level, MINE, 'fleet/broadcast/#')],
    ['UNSUBSCRIBE', () => makeUnsubscribe(level, { id: 9, filters: ['a', '$share/g/b'] })],
    ['PINGREQ', () => Buffer.from('c000', 'hex')],
    ['DISCONNECT', () => Buffer.from('e000', 'hex')],
  ])('%s goes on as it came', (_, make) => {
    const { fromClient, atBroker, atClient } = createJudges(level)
    expect(fromClient(make())).toBeUndefined()
    expect(atBroker()).toEqual([hex(make())])
    expect(atClient()).toEqual([])
  })
  test('a run of packets is one slice', () => {
    const { fromClient, atBroker } = createJudges(level)
    const run = Buffer.concat([publish(level, MINE), Buffer.from('40020007', 'hex'), publish(level, MINE)])
    fromClient(run)
    expect(atBroker()).toEqual([hex(run)])
  })
  test.each<[string, string]>([
    ['AUTH', 'f000'],
    ['CONNECT again', '100c00044d5154540402003c0000'],
    ['a CONNACK', '20020000'],
    ['a SUBACK', '9003000100'],
    ['a PINGRESP', 'd000'],
  ])('%s is a protocol error', (_, bytes) => {
    const { fromClient, atBroker } = createJudges(level)
    expect(fromClient(bytes)).toMatchObject({ reason: 'bad_request', code: 0x82 })
    expect(atBroker()).toEqual([])
  })
  test.each<[string, string]>([
    ['no type', '0000'],
    ['PUBREL without its flag', '60020007'],
    ['PUBACK without an id', '40020000'],
    ['PUBACK of one byte', '400100'],
    ['PINGREQ with a body', 'c00100'],
    ['a PUBLISH without its id', '3203000178'],
    ['SUBSCRIBE without a filter', level === 5 ? '8203000900' : '82020009'],
  ])('%s ends the connection', (_, bytes) => {
    const { fromClient, atBroker } = createJudges(level)
    const refusal = fromClient(bytes)
    expect(refusal).toMatchObject({ reason: 'bad_request' })
    expect(refusal?.code).toBeUndefined()
    expect(atBroker()).toEqual([])
  })
})

describe('a PUBLISH that is denied', () => {
  type Expected = { client: string[]; reason?: string }
  test.each<[Level, 'disconnect' | 'drop', 0 | 1 | 2, Expected]>([
    [3, 'disconnect', 0, { client: [], reason: 'topic_denied' }],
    [4, 'disconnect', 1, { client: [], reason: 'topic_denied' }],
    [4, 'disconnect', 2, { client: [], reason: 'topic_denied' }],
    [3, 'drop', 0, { client: [] }],
    [3, 'drop', 1, { client: ['40020007'] }],
    [4, 'drop', 0, { client: [] }],
    [4, 'drop', 1, { client: ['40020007'] }],
    [4, 'drop', 2, { client: ['50020007'] }],
    [5, 'disconnect', 0, { client: [] }],
    [5, 'disconnect', 1, { client: ['4003000787'] }],
    [5, 'disconnect', 2, { client: ['5003000787'] }],
  ])('level %d, %s, QoS %d', async (level, denyPublish, qos, expected) => {
    const { fromClient, atBroker, atClient, metrics, admission } = createJudges(level, { denyPublish })
    const refusal = fromClient(publish(level, YOURS, qos === 0 ? {} : { qos }))
    expect(refusal?.reason).toBe(expected.reason)
    expect(atBroker()).toEqual([])
    expect(atClient()).toEqual(expected.client)
    expect(await metrics()).toMatch(
      /sallyport_mqtt_denied_total\{.*act="publish",reason="topic_denied".*\} 1/,
    )
    expect(admission.recorded).toHaveLength(1)
  })

  test.each(LEVELS)('level %d: so many in a minute, and no more', (level) => {
    let now = 0
    const { fromClient, atClient } = createJudges(level, { denyPublish: 'drop', clock: () => now })
    const one = publish(level, YOURS, { qos: 1 })
    expect(fromClient(one, one, one)).toBeUndefined()
    now = 60_000
    expect(fromClient(one, one, one)).toBeUndefined()
    expect(atClient()).toHaveLength(6)
    expect(fromClient(one)).toMatchObject({ reason: 'topic_denied', recorded: true })
  })

  test.each([3, 4] as const)(
    'level %d: what may be let in tomorrow is not taken for good today, even where it is dropped',
    (level) => {
      const { fromClient, atClient, admission } = createJudges(level, { denyPublish: 'drop' })
      admission.denied.set('lamp-1', 'registry_unavailable')
      expect(fromClient(publish(level, MINE, { qos: 1 }))).toMatchObject({ reason: 'registry_unavailable' })
      expect(atClient()).toEqual([])
    },
  )
  test('MQTT 5 is told in its own words', () => {
    const { fromClient, atClient, admission } = createJudges(5)
    admission.denied.set('lamp-1', 'registry_unavailable')
    expect(fromClient(publish(5, MINE, { qos: 1 }))).toBeUndefined()
    expect(atClient()).toEqual(['4003000783'])
  })

  test.each(LEVELS)('level %d: a topic that is none ends the connection', (level) => {
    for (const topic of ['devices/lamp-1/+', 'devices/lamp-1/\u0001', `devices${'/x'.repeat(40)}`])
      expect(createJudges(level, { denyPublish: 'drop' }).fromClient(publish(level, topic))).toMatchObject({
        reason: 'bad_request',
        code: 0x90,
      })
  })

  test.each(LEVELS)('level %d: is judged at each packet: another epoch, another verdict', (level) => {
    const { fromClient, atBroker, admission } = createJudges(level, { denyPublish: 'drop' })
    const one = publish(level, MINE)
    fromClient(one, one)
    admission.rules = [{ filter: 'other/#', acts: ['publish'] }]
    admission.changed()
    fromClient(one, one)
    admission.rules = []
    admission.changed()
    fromClient(one)
    expect(atBroker()).toEqual([hex(one), hex(one), hex(one)])
  })
})

describe.each([3, 4] as const)('level %d: a QoS 2 message that is dropped', (level) => {
  const denied = publish(level, YOURS, { qos: 2 })
  const allowed = publish(level, MINE, { qos: 2 })
  const open = (): Judges => createJudges(level, { denyPublish: 'drop' })

  test('is finished here', () => {
    const { fromClient, atBroker, atClient } = open()
    fromClient(denied, publish(level, YOURS, { qos: 2, dup: true }), '62020007')
    expect(atClient()).toEqual(['50020007', '50020007', '70020007'])
    expect(atBroker()).toEqual([])
    // and its id is free
    fromClient(allowed, '62020007')
    expect(atBroker()).toEqual([hex(allowed), '62020007'])
  })
  test('is the same message when its id comes with another topic', () => {
    const { fromClient, atBroker, atClient } = open()
    fromClient(denied, allowed, '62020007')
    expect(atClient()).toEqual(['50020007', '50020007', '70020007'])
    expect(atBroker()).toEqual([])
  })
  test('does not take the PUBREL of one that the broker has under that id', () => {
    const { fromClient, fromBroker, atBroker, atClient } = open()
    fromClient(allowed)
    fromBroker('50020007')
    fromClient(denied, '62020007')
    expect(atBroker()).toEqual([hex(allowed), '62020007'])
    expect(atClient()).toEqual(['50020007', '50020007'])
  })
  test('half flows, many of them: each is finished here, whenever its PUBREL comes', () => {
    const { fromClient, atClient, atBroker } = createJudges(level, {
      denyPublish: 'drop',
      limits: { denied_per_minute: 1_000_000 },
    })
    const ids = Array.from({ length: 1_000 }, (_, at) => 65_535 - at * 31)
    const released = ids.map((id) => `6202${id.toString(16).padStart(4, '0')}`)
    expect(fromClient(...ids.map((id) => publish(level, YOURS, { qos: 2, id })))).toBeUndefined()
    expect(atClient()).toHaveLength(1_000)
    fromClient(...released)
    expect(atClient()).toEqual(released.map((bytes) => bytes.replace('62', '70')))
    expect(atBroker()).toEqual([])
  })
  test('sent again, it may be known to the broker from before: its PUBREL goes there', () => {
    const { fromClient, fromBroker, atBroker, atClient } = open()
    fromClient(publish(level, YOURS, { qos: 2, dup: true }), '62020007')
    expect(atClient()).toEqual(['50020007'])
    expect(atBroker()).toEqual(['62020007'])
    fromBroker('70020007')
    expect(atClient()).toEqual(['70020007'])
  })
  test('a PUBREL of nobody’s is the broker’s', () => {
    const { fromClient, atBroker } = open()
    fromClient('62020008')
    expect(atBroker()).toEqual(['62020008'])
  })
})

describe('MQTT 5: topic aliases', () => {
  const named = (topic: string, value: number): Buffer => publish(5, topic, { properties: [alias(value)] })
  const used = (value: number, o: Message = {}): Buffer =>
    publish(5, '', { ...o, properties: [alias(value)] })

  test('are written out', () => {
    const { fromClient, atBroker } = createJudges(5)
    fromClient(named(MINE, 1), used(1), named(`${MINE}/2`, 1), used(1), used(1, { qos: 1 }))
    expect(atBroker()).toEqual(
      [publish(5, MINE), publish(5, MINE), publish(5, `${MINE}/2`), publish(5, `${MINE}/2`)]
        .map(hex)
        .concat(hex(publish(5, `${MINE}/2`, { qos: 1 }))),
    )
  })
  test('are judged each time, also those of a topic that was denied', () => {
    const { fromClient, atBroker, admission } = createJudges(5)
    fromClient(named(YOURS, 1), used(1))
    expect(atBroker()).toEqual([])
    admission.rules = [{ filter: YOURS, acts: ['publish'] }]
    admission.changed()
    fromClient(used(1), used(1))
    expect(atBroker()).toHaveLength(2)
    admission.rules = []
    admission.changed()
    fromClient(used(1))
    expect(atBroker()).toEqual([])
  })
  test.each<[string, Buffer]>([
    ['nobody has set', used(1)],
    ['zero', named(MINE, 0)],
    ['zero, and no topic', used(0)],
    ['too high', named(MINE, 4)],
    ['far too high', used(65_535)],
    ['of a topic too long', named(`${MINE}${'x'.repeat(1_024)}`, 1)],
  ])('ends the connection with 0x94: %s', (_, bytes) => {
    expect(createJudges(5).fromClient(bytes)).toMatchObject({ reason: 'bad_request', code: 0x94 })
  })
  test.each<[string, Buffer]>([
    ['twice', publish(5, MINE, { properties: [alias(1), alias(1)] })],
    ['no topic and no alias', publish(5, '')],
  ])('malformed: %s', (_, bytes) => {
    expect(createJudges(5).fromClient(bytes)).toMatchObject({ reason: 'bad_request' })
  })
  test('a flood of them is forwarded as whole topics', () => {
    const { fromClient, atBroker, exchange } = createJudges(5, { limits: { topic_alias_maximum: 65_535 } })
    for (let at = 1; at <= 500; at++) fromClient(named(`${MINE}/${at}`, at), used(at))
    expect(atBroker()).toHaveLength(1_000)
    expect(exchange.flows.full).toBe(false)
  })
  test('what would be too large for the broker with its whole topic is denied', () => {
    const { fromClient, atBroker, atClient } = createJudges(5, {
      connack: '20080000052700000028',
    })
    const topic = `devices/lamp-1/${'y'.repeat(60)}`
    fromClient(named(topic, 1), used(1, { qos: 1 }))
    expect(atBroker()).toEqual([])
    expect(atClient()).toEqual(['4003000797'])
  })
})

describe('MQTT 5: properties', () => {
  test('QoS 2 that is denied when it is sent again: the broker may hold it from before, and lets go of it', () => {
    const { fromClient, fromBroker, atBroker, atClient } = createJudges(5)
    fromClient(publish(5, YOURS, { qos: 2, dup: true }))
    expect(atClient()).toEqual(['5003000787'])
    expect(atBroker()).toEqual(['62020007'])
    // the id is the client's again, at once
    const next = publish(5, MINE, { qos: 2 })
    expect(fromClient(next)).toBeUndefined()
    fromBroker('7003000792', '50020007')
    expect(atClient()).toEqual(['50020007'])
    fromClient('62020007')
    fromBroker('70020007')
    expect(atBroker()).toEqual([hex(next), '62020007'])
    expect(atClient()).toEqual(['70020007'])
  })
  test('a hundred user properties, and no more', () => {
    const many = (count: number): Buffer =>
      publish(5, MINE, { properties: Array.from({ length: count }, () => userProperty('', '')) })
    expect(createJudges(5).fromClient(many(100))).toBeUndefined()
    expect(createJudges(5).fromClient(many(101))).toMatchObject({ reason: 'bad_request' })
  })
  test('a response topic must be one that the sender may receive', () => {
    const { fromClient, atBroker, atClient, admission } = createJudges(5)
    const good = publish(5, MINE, { qos: 1, properties: [responseTo('devices/lamp-1/answers')] })
    fromClient(good)
    expect(atBroker()).toEqual([hex(good)])
    fromClient(publish(5, MINE, { qos: 1, id: 8, properties: [responseTo('devices/lamp-2/commands')] }))
    expect(atBroker()).toEqual([])
    expect(atClient()).toEqual(['4003000887'])
    expect(admission.recorded[0]?.ask).toMatchObject({ act: 'receive', topic: 'devices/lamp-2/commands' })
  })
  test.each(['devices/+/x', '#', ''])('and a topic name: %s', (topic) => {
    expect(createJudges(5).fromClient(publish(5, MINE, { properties: [responseTo(topic)] }))).toMatchObject({
      reason: 'bad_request',
    })
  })
  test('what only the door may say is taken out, of every packet', () => {
    const ours = userProperty('Sallyport-Identity', 'admin')
    const theirs = userProperty('a', 'b')
    const { fromClient, atBroker } = createJudges(5)
    const both = writeProperties([ours, theirs])
    const one = writeProperties([theirs])
    fromClient(publish(5, MINE, { properties: [ours, theirs] }))
    fromClient(packet(0x40, number16(7), Uint8Array.of(0x10), both))
    fromClient(packet(0x62, number16(7), Uint8Array.of(0), both))
    fromClient(makeSubscribe(5, { id: 9, filters: [{ filter: MINE, qos: 0, options: 0 }], properties: both }))
    fromClient(makeUnsubscribe(5, { id: 10, filters: [MINE], properties: both }))
    fromClient(packet(0xe0, Uint8Array.of(0), both))
    expect(atBroker()).toEqual(
      [
        publish(5, MINE, { properties: [theirs] }),
        packet(0x40, number16(7), Uint8Array.of(0x10), one),
        packet(0x62, number16(7), Uint8Array.of(0), one),
        makeSubscribe(5, { id: 9, filters: [{ filter: MINE, qos: 0, options: 0 }], properties: one }),
        makeUnsubscribe(5, { id: 10, filters: [MINE], properties: one }),
        packet(0xe0, Uint8Array.of(0), one),
      ].map(hex),
    )
  })
})

describe('messages under way', () => {
  const flood = (level: Level, count: number, qos: 1 | 2 = 1): Buffer[] =>
    Array.from({ length: count }, (_, at) => publish(level, MINE, { qos, id: at + 1 }))

  test.each([3, 4] as const)('level %d: no more is read until one is answered', (level) => {
    const { fromClient, fromBroker, atBroker, up, said, exchange } = createJudges(level)
    expect(fromClient(Buffer.concat(flood(level, 6)))).toBeUndefined()
    expect(atBroker().join('')).toBe(Buffer.concat(flood(level, 4)).toString('hex'))
    expect(up.waits).toBe('packet')
    fromBroker('40020001')
    expect(said.goOn).toBe(1)
    fromBroker('40020002')
    expect(said.goOn).toBe(1)
    up.resume()
    expect(atBroker()).toEqual([hex(Buffer.concat(flood(level, 6).slice(4)))])
    expect(up.waits).toBe('packet')
    expect(exchange.waitsFor).toBe('window')
  })
  test('level 4: what waits for the client’s PUBREL does not keep its PUBREL from being read', () => {
    const { fromClient, fromBroker, up, said } = createJudges(4)
    fromClient(...flood(4, 4, 2))
    expect(up.waits).toBe('packet')
    fromBroker('50020001', '50020002', '50020003', '50020004')
    expect(said.goOn).toBe(1)
    up.resume()
    fromClient('62020001')
    expect(up.waits).toBeUndefined()
    fromClient(publish(4, MINE, { qos: 2, id: 5 }))
    expect(up.waits).toBeUndefined()
  })
  test('level 4: a PUBLISH that waits for its UNSUBACK is not let go by another’s PUBACK', () => {
    const { fromClient, fromBroker, said } = createJudges(4)
    fromClient(...flood(4, 2), makeUnsubscribe(4, { id: 9, filters: ['a'] }))
    fromBroker('40020001')
    expect(said.goOn).toBe(0)
    fromBroker('b0020009')
    expect(said.goOn).toBe(1)
  })
  test('level 5: one too many is 0x93', () => {
    const { fromClient, fromBroker } = createJudges(5)
    expect(fromClient(...flood(5, 4))).toBeUndefined()
    fromBroker('40020001')
    expect(fromClient(publish(5, MINE, { qos: 1, id: 1 }))).toBeUndefined()
    expect(fromClient(publish(5, MINE, { qos: 1, id: 5 }))).toMatchObject({
      reason: 'quota_exceeded',
      code: 0x93,
    })
  })
  test('level 5: the broker’s Receive Maximum, when it is less', () => {
    const { fromClient } = createJudges(5, { connack: '200600000321 0001' })
    expect(fromClient(...flood(5, 1))).toBeUndefined()
    expect(fromClient(publish(5, MINE, { qos: 2, id: 5 }))).toMatchObject({ code: 0x93 })
  })
  test('level 5: what was denied was never under way', () => {
    const { fromClient } = createJudges(5, { limits: { receive_maximum: 1, denied_per_minute: 100 } })
    for (let id = 1; id < 50; id++)
      expect(fromClient(publish(5, YOURS, { qos: id % 2 === 0 ? 1 : 2, id }))).toBeUndefined()
    expect(fromClient(publish(5, MINE, { qos: 1 }))).toBeUndefined()
  })
  test.each([1, 2] as const)('level 5: an id that is in use, QoS %d, is a protocol error', (qos) => {
    const { fromClient } = createJudges(5)
    fromClient(publish(5, MINE, { qos }))
    expect(fromClient(publish(5, YOURS, { qos, dup: true }))).toMatchObject({ code: 0x82 })
  })
  test.each([3, 4] as const)('level %d: the same sent again counts once, and goes on', (level) => {
    const { fromClient, atBroker, up } = createJudges(level)
    const again = publish(level, MINE, { qos: 1, dup: true })
    fromClient(publish(level, MINE, { qos: 1 }), again, again, again, again)
    expect(up.waits).toBeUndefined()
    expect(atBroker()).toHaveLength(5)
  })
})

describe('SUBSCRIBE', () => {
  test.each([
    [3, '90050009018080'],
    [4, '90050009018080'],
    [5, '9006000900018787'],
  ] as const)('level %d: filters of both kinds are one SUBACK, in order', (level, suback) => {
    const { fromClient, fromBroker, atBroker, atClient } = createJudges(level)
    fromClient(subscribe(level, MINE, '#', YOURS))
    expect(atBroker()).toEqual([hex(subscribe(level, MINE))])
    expect(atClient()).toEqual([])
    fromBroker(level === 5 ? '900400090001' : '9003000901')
    expect(atClient()).toEqual([suback])
  })
  test('MQTT 5: options, identifier and user properties are kept', () => {
    const { fromClient, atBroker } = createJudges(5)
    const properties = writeProperties([
      { name: 'subscriptionIdentifier', value: 300 },
      userProperty('a', 'b'),
    ])
    const wanted = { filter: MINE, qos: 1, options: 0b10_1101 }
    fromClient(
      makeSubscribe(5, { id: 9, filters: [wanted, { filter: '#', qos: 0, options: 0 }], properties }),
    )
    expect(atBroker()).toEqual([hex(makeSubscribe(5, { id: 9, filters: [wanted], properties }))])
  })
  test('nothing of it allowed: the broker is not asked', async () => {
    const { fromClient, atBroker, atClient, metrics } = createJudges(5)
    fromClient(subscribe(5, '#', '$SYS/#', '$share/g/#', '$share/g', 'a/#/b'))
    expect(atBroker()).toEqual([])
    expect(atClient()).toEqual(['90080009008787878f8f'])
    expect(await metrics()).toMatch(/denied_total\{.*act="subscribe",reason="topic_denied".*\} 3/)
  })
  test.each([
    [4, '9003000980'],
    [5, '90040009009e'],
  ] as const)('level %d: a share where the broker has none', (level, suback) => {
    const { fromClient, atClient } = createJudges(
      level,
      level === 5 ? { connack: '20050000022a00' } : { shared: false },
    )
    fromClient(subscribe(level, '$share/g/devices/lamp-1/x'))
    expect(atClient()).toEqual([suback])
  })
  test('MQTT 5: No Local on a share is a protocol error', () => {
    const filters = [{ filter: '$share/g/devices/lamp-1/x', qos: 0, options: 4 }]
    expect(createJudges(5).fromClient(makeSubscribe(5, { id: 9, filters }))).toMatchObject({
      reason: 'bad_request',
    })
  })
  test.each(LEVELS)('level %d: a bomb is refused filter by filter, and nothing of it is kept', (level) => {
    const { fromClient, atClient, atBroker, exchange } = createJudges(level)
    const many = Array.from({ length: 500 }, (_, at) => `devices/lamp-1/${at}`)
    fromClient(subscribe(level, ...many))
    expect(atBroker()).toHaveLength(1)
    expect([...exchange.subscriptions.some(100)]).toHaveLength(5)
    expect(atClient()).toEqual([])
  })
  test.each(LEVELS)('level %d: of more than a thousand filters nobody reads on', (level) => {
    const one = level === 5 ? '00012300' : '00012300'
    const body = `0009${level === 5 ? '00' : ''}${one.repeat(1_001)}`
    const bytes = packet(0x82, Buffer.from(body, 'hex'))
    expect(createJudges(level).fromClient(bytes)).toMatchObject({ reason: 'quota_exceeded' })
  })
  test.each(LEVELS)('level %d: a few filters asked, and many that are not, without an answer', (level) => {
    const { fromClient } = createJudges(level)
    const filters = [MINE, ...Array.from({ length: 999 }, () => YOURS)]
    const refusals = Array.from({ length: 11 }, (_, at) =>
      fromClient(
        makeSubscribe(level, {
          id: at + 1,
          filters: filters.map((filter) => ({ filter, qos: 0, options: 0 })),
        }),
      ),
    )
    expect(refusals.map((refusal) => refusal?.reason)).toEqual([
      ...Array.from({ length: 10 }, () => undefined),
      'quota_exceeded',
    ])
  })
  test.each(LEVELS)('level %d: an id that is in use', (level) => {
    const { fromClient } = createJudges(level)
    expect(fromClient(subscribe(level, MINE), subscribe(level, MINE))).toMatchObject({
      reason: 'bad_request',
    })
  })
  test('the same filter asked for again and again, without an answer', () => {
    const { fromClient } = createJudges(4)
    let refusal
    for (let id = 1; id < 20_000 && refusal === undefined; id++)
      refusal = fromClient(makeSubscribe(4, { id, filters: [{ filter: MINE, qos: 0, options: 0 }] }))
    expect(refusal).toMatchObject({ reason: 'quota_exceeded' })
  })
  test('level 3: DUP is taken off', () => {
    const { fromClient, atBroker } = createJudges(3)
    const again = subscribe(3, MINE)
    again[0] = 0x8a
    fromClient(again)
    expect(atBroker()).toEqual([hex(subscribe(3, MINE))])
  })
})

describe('UNSUBSCRIBE', () => {
  test.each(LEVELS)('level %d: what follows waits for its UNSUBACK, and room is given back', (level) => {
    const { fromClient, fromBroker, up, said, exchange } = createJudges(level)
    fromClient(subscribe(level, MINE))
    fromClient(makeUnsubscribe(level, { id: 10, filters: [MINE] }))
    expect(up.waits).toBe('packet')
    expect([...exchange.subscriptions.some(9)]).toEqual([])
    fromBroker(level === 5 ? 'b004000a0000' : 'b002000a')
    expect(said.goOn).toBe(1)
  })
  test.each<[string, readonly string[]]>([
    ['bad_request', ['a/#/b']],
    ['quota_exceeded', Array.from({ length: 101 }, (_, at) => `a/${at}`)],
  ])('%s', (reason, filters) => {
    for (const level of LEVELS)
      expect(createJudges(level).fromClient(makeUnsubscribe(level, { id: 9, filters }))).toMatchObject({
        reason,
      })
  })
  test.each(LEVELS)('level %d: so many without an answer, and no more', (level) => {
    const { fromClient } = createJudges(level)
    const filters = ['$sallyport/x', ...Array.from({ length: 99 }, (_, at) => `a/${at}`)]
    let refusal
    let id = 0
    while (refusal === undefined && id < 1_000)
      refusal = fromClient(makeUnsubscribe(level, { id: ++id, filters }))
    expect(refusal).toMatchObject({ reason: 'quota_exceeded' })
    expect(id).toBe(101)
  })
})

describe('the door’s own topics', () => {
  const OWN = '$sallyport/certificates/renew'
  const createLocal = () => {
    const calls: unknown[] = []
    const local: LocalTopics = {
      grants: (filter) => filter === `${OWN}/accepted`,
      forget: (filter) => filter === `${OWN}/accepted`,
      publish: (topic, payload, { correlation }) => {
        calls.push([
          topic,
          Buffer.from(payload).toString(),
          correlation && Buffer.from(correlation).toString(),
        ])
        return topic === OWN ? undefined : 'topic_denied'
      },
      close: () => {},
    }
    return { local, calls }
  }

  test.each(LEVELS)('level %d: never reach a broker, and each QoS is finished here', (level) => {
    const { local, calls } = createLocal()
    const { fromClient, atBroker, atClient } = createJudges(level, { local })
    fromClient(
      publish(level, OWN),
      publish(level, OWN, { qos: 1 }),
      publish(level, OWN, { qos: 2 }),
      '62020007',
    )
    expect(atBroker()).toEqual([])
    expect(atClient()).toEqual(['40020007', '50020007', '70020007'])
    expect(calls).toEqual(Array.from({ length: 3 }, () => [OWN, 'p', undefined]))
  })
  test('MQTT 5: correlation data, by alias too', () => {
    const { local, calls } = createLocal()
    const { fromClient, atBroker } = createJudges(5, { local })
    const correlation: Property = { name: 'correlationData', value: Buffer.from('c') }
    fromClient(publish(5, OWN, { properties: [alias(1), correlation] }))
    fromClient(publish(5, '', { properties: [alias(1)] }))
    expect(calls).toEqual([
      [OWN, 'p', 'c'],
      [OWN, 'p', undefined],
    ])
    expect(atBroker()).toEqual([])
  })
  test.each<[string, boolean, string]>([
    ['a client that has none', false, OWN],
    ['one that is none', true, '$sallyport/other'],
    ['their root', true, '$sallyport'],
  ])('are denied: %s', (_, has, topic) => {
    const { fromClient, atBroker, atClient, admission } = createJudges(5, has ? createLocal() : {})
    admission.rules = [{ filter: '$sallyport/#', acts: ['publish'] }]
    fromClient(publish(5, topic, { qos: 1 }))
    expect(atBroker()).toEqual([])
    expect(atClient()).toEqual(['4003000787'])
  })
  test('are closed to a device that is not welcome', () => {
    const { local, calls } = createLocal()
    const { fromClient, atClient, admission } = createJudges(5, { local })
    admission.denied.set('lamp-1', 'device_suspended')
    fromClient(publish(5, OWN, { qos: 1 }), subscribe(5, `${OWN}/accepted`))
    expect(calls).toEqual([])
    expect(atClient()).toEqual(['4003000787', '900400090087'])
  })
  test.each([
    [4, ['9004000900 01', 'b002000a']],
    [5, ['900500090000 01', 'b005000a000011']],
  ] as const)('level %d: SUBSCRIBE and UNSUBSCRIBE', (level, answers) => {
    const { local } = createLocal()
    const { fromClient, fromBroker, atBroker, atClient } = createJudges(level, { local })
    fromClient(subscribe(level, `${OWN}/accepted`, MINE))
    expect(atBroker()).toEqual([hex(subscribe(level, MINE))])
    fromBroker(level === 5 ? '900400090001' : '9003000901')
    fromClient(makeUnsubscribe(level, { id: 10, filters: [`${OWN}/accepted`, '$sallyport/x'] }))
    expect(atBroker()).toEqual([])
    expect(atClient()).toEqual(answers.map((answer) => answer.replaceAll(' ', '')))
  })
  test.each([4, 5] as const)('level %d: UNSUBSCRIBE of both kinds', (level) => {
    const { local } = createLocal()
    const { fromClient, fromBroker, atBroker, atClient } = createJudges(level, { local })
    fromClient(makeUnsubscribe(level, { id: 10, filters: [`${OWN}/accepted`, MINE] }))
    expect(atBroker()).toEqual([hex(makeUnsubscribe(level, { id: 10, filters: [MINE] }))])
    fromBroker(level === 5 ? 'b004000a0011' : 'b002000a')
    expect(atClient()).toEqual([level === 5 ? 'b005000a000011' : 'b002000a'])
  })
})

describe('handshake_per: message', () => {
  test.each(LEVELS)('level %d: one PUBLISH, and no subscription', (level) => {
    const { fromClient, atClient, exchange } = createJudges(level, { handshakePer: 'message' })
    fromClient(subscribe(level, MINE))
    expect(atClient()).toEqual([level === 5 ? '900400090087' : '9003000980'])
    expect(fromClient(publish(level, MINE, { qos: 1 }))).toBeUndefined()
    expect(exchange.oneMessage?.over).toBe(false)
    expect(fromClient(publish(level, MINE))).toMatchObject({ reason: 'session_expired' })
  })
  test.each(LEVELS.flatMap((level) => ([1, 2] as const).map((qos) => [level, qos] as const)))(
    'level %d, QoS %d: no second message under the id of the first',
    (level, qos) => {
      const { fromClient, atBroker } = createJudges(level, { handshakePer: 'message' })
      const [first, ...more] = ['x', 'y', 'z'].map((name) =>
        publish(level, `devices/lamp-1/${name}`, { qos }),
      )
      expect(fromClient(first as Buffer, ...more)).toMatchObject({ reason: 'session_expired' })
      expect(atBroker()).toEqual([hex(first as Buffer)])
    },
  )
  test.each([3, 4] as const)('level %d: nor after one that was dropped', (level) => {
    const { fromClient, atClient } = createJudges(level, { handshakePer: 'message', denyPublish: 'drop' })
    const denied = publish(level, YOURS, { qos: 2 })
    expect(fromClient(denied, denied)).toMatchObject({ reason: 'session_expired' })
    expect(atClient()).toEqual(['50020007'])
  })
  test.each<[Level, Message, string[], boolean]>([
    [5, { qos: 1 }, [], true],
    [5, { qos: 2 }, [], true],
    [5, {}, [], true],
    [4, { qos: 1 }, [], true],
    [4, { qos: 2 }, [], false],
    [4, { qos: 2 }, ['62020007'], true],
  ])('level %d %o %o: one that is denied is over all the same: %s', (level, message, then, over) => {
    const { fromClient, exchange } = createJudges(level, { handshakePer: 'message', denyPublish: 'drop' })
    fromClient(publish(level, YOURS, message), ...then)
    expect(exchange.oneMessage?.over).toBe(over)
  })
})

describe('rates', () => {
  test.each(LEVELS)('level %d: over them the client is read from later, and nothing is lost', (level) => {
    const { fromClient, atBroker, up, waits } = createJudges(level, { limits: { packets_per_second: 10 } })
    const one = publish(level, MINE)
    fromClient(Buffer.concat(Array.from({ length: 12 }, () => one)))
    expect(up.waits).toBe('turn')
    expect(waits).toEqual([100])
    expect(atBroker().join('')).toBe(hex(one).repeat(11))
    up.resume()
    expect(atBroker().join('')).toBe(hex(one))
  })
  test('bytes too', () => {
    const { fromClient, waits } = createJudges(4, { limits: { bytes_per_second: 1_000 } })
    const large = makePublish({ level: 4, topic: MINE, payload: Buffer.alloc(1_500) })
    fromClient(large)
    expect(waits).toEqual([large.length - 1_000])
  })
  test.each<[string, (id: number) => Buffer, string]>([
    ['PUBLISH behind a full window', (id) => publish(4, MINE, { qos: 1, id }), '4002'],
    ['UNSUBSCRIBE', (id) => makeUnsubscribe(4, { id, filters: ['a'] }), 'b002'],
  ])('also of packets behind which the client waits: %s', (_, make, answer) => {
    const limits = { packets_per_second: 10, receive_maximum: 1 }
    const { fromClient, fromBroker, up, waits } = createJudges(4, { limits })
    for (let id = 1; id <= 2_000; id++) {
      fromClient(make(id))
      expect(up.waits).toBe('packet')
      fromBroker(`${answer}${id.toString(16).padStart(4, '0')}`)
      up.resume()
    }
    expect(waits).toHaveLength(1_990)
    expect(waits.slice(0, 2)).toEqual([100, 200])
    // nobody pays for long for what was let through
    expect(Math.max(...waits)).toBe(2_000)
    fromClient('c000')
    expect(waits.at(-1)).toBe(2_000)
  })
  test('a large packet is many, of those that share a turn', () => {
    const { fromClient, up } = createJudges(4, { share: 64 })
    fromClient(makePublish({ level: 4, topic: MINE, payload: Buffer.alloc(60 * 4_096) }))
    expect(up.waits).toBeUndefined()
    fromClient(makePublish({ level: 4, topic: MINE, payload: Buffer.alloc(60 * 4_096) }))
    expect(up.waits).toBe('turn')
  })
})

describe('a broker that hears nothing, because all of it ends here', () => {
  test('is asked for a sign of life, now and then', () => {
    let now = 0
    const { fromClient, fromBroker, atBroker, atClient } = createJudges(4, {
      keepalive: 10,
      denyPublish: 'drop',
      clock: () => now,
      limits: { denied_per_minute: 1_000 },
    })
    for (; now < 20_000; now += 1_000) fromClient(publish(4, YOURS))
    expect(atBroker()).toEqual(['c000', 'c000', 'c000'])
    // the client’s own is answered too, and only that
    fromClient('c000')
    fromBroker('d000d000d000d000')
    expect(atClient()).toEqual(['d000'])
  })
  test('unless it was told of no keep-alive', () => {
    let now = 0
    const { fromClient, atBroker } = createJudges(5, { clock: () => now })
    fromClient(publish(5, YOURS))
    now = 100_000
    fromClient(publish(5, YOURS))
    expect(atBroker()).toEqual([])
  })
})

describe('DISCONNECT', () => {
  const expiry = (value: number): Buffer =>
    packet(0xe0, Uint8Array.of(0), writeProperties([{ name: 'sessionExpiryInterval', value }]))
  test('nothing behind it is looked at', () => {
    for (const level of LEVELS) {
      const { fromClient, atBroker, said } = createJudges(level)
      expect(fromClient(`e000${hex(publish(level, MINE))}`)).toBeUndefined()
      expect(atBroker()).toEqual(['e000'])
      expect(said.goodbye).toBe(true)
    }
  })
  test('a session that was to end cannot be kept', () => {
    expect(createJudges(5).fromClient(expiry(1))).toMatchObject({ reason: 'bad_request', code: 0x82 })
    expect(createJudges(5).fromClient(expiry(0))).toBeUndefined()
    expect(createJudges(5, { sessionExpiry: 5 }).fromClient(expiry(10))).toBeUndefined()
  })
  test.each([
    ['its topic is allowed', 'devices/lamp-1/will', '04', 'e00104'],
    ['its topic is not', 'devices/lamp-2/will', '04', 'e0020000'],
    ['no will is wanted', 'devices/lamp-2/will', '00', 'e00100'],
    ['there is none', undefined, '04', 'e00104'],
  ])('with a will: %s', (_, topic, code, expected) => {
    const { fromClient, atBroker, up } = createJudges(5, {
      will: topic === undefined ? undefined : { topic },
    })
    fromClient(`e001${code}${hex(publish(5, MINE))}`)
    expect(atBroker()).toEqual([expected])
    expect(up.waits).toBeDefined()
  })
  test('malformed: before MQTT 5 it is empty', () => {
    expect(createJudges(4).fromClient('e00100')).toMatchObject({ reason: 'bad_request' })
    expect(createJudges(5).fromClient('e0018e')).toMatchObject({ reason: 'bad_request' })
  })
})

test('one in so many allowed packets has a line, without its payload', () => {
  const { fromClient, notes } = createJudges(5, { limits: { log_every: 3 } })
  for (let at = 0; at < 7; at++) fromClient(publish(5, MINE))
  expect(notes).toEqual([1, 2].map(() => ({ message: 'allowed', act: 'publish', topic: MINE, one_in: 3 })))
})

test('a message that was rewritten reads as it should', () => {
  const { fromClient, atBroker } = createJudges(5)
  fromClient(publish(5, MINE, { qos: 1, properties: [alias(1), responseTo(MINE), userProperty('k', 'v')] }))
  const bytes = Buffer.from(atBroker()[0] as string, 'hex')
  const head = readPublish(bytes, 0, 2, bytes.length, 5, 'broker')
  expect(head).toMatchObject({ qos: 1, id: 7, alias: 0 })
  expect(bytes.subarray(-1).toString()).toBe('p')
  expect(bytes.includes(text16(MINE))).toBe(true)
})
