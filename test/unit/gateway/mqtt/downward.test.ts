import { describe, expect, test } from 'vitest'
import type { Level } from '#gateway/mqtt/packets.ts'
import { writeProperties, type Property } from '#gateway/mqtt/properties.ts'
import { makePublish } from '#gateway/mqtt/publish-packet.ts'
import { makeSubscribe, makeUnsubscribe } from '#gateway/mqtt/subscribe-packets.ts'
import { createJudges } from '../../../support/mqtt-judges.ts'

const LEVELS = [3, 4, 5] as const
const MINE = 'devices/lamp-1/x'
const YOURS = 'devices/lamp-2/x'

const delivery = (
  level: Level,
  topic: string,
  qos: 0 | 1 | 2 = 0,
  o: { readonly id?: number; readonly dup?: boolean; readonly properties?: readonly Property[] } = {},
): Buffer => {
  const bytes = makePublish({
    level,
    topic,
    payload: Buffer.from('p'),
    qos,
    id: o.id ?? 7,
    properties: writeProperties(o.properties ?? []),
  })
  if (o.dup === true) bytes[0] = (bytes[0] as number) | 8
  return bytes
}
const hex = (bytes: Buffer): string => bytes.toString('hex')
const subscribe = (level: Level, id: number, ...filters: string[]): Buffer =>
  makeSubscribe(level, { id, filters: filters.map((filter) => ({ filter, qos: 1, options: 1 })) })

describe.each(LEVELS)('MQTT level %d: a delivery', (level) => {
  test.each([0, 1, 2] as const)('that is allowed, QoS %d, goes down as it came', (qos) => {
    const { fromBroker, atClient, atBroker } = createJudges(level)
    fromBroker(delivery(level, MINE, qos))
    expect(atClient()).toEqual([hex(delivery(level, MINE, qos))])
    expect(atBroker()).toEqual([])
  })
  test.each([
    [0, []],
    [1, ['40020007']],
    [2, ['50020007']],
  ] as const)('that is not, QoS %d, is dropped and acknowledged', async (qos, expected) => {
    const { fromBroker, atClient, atBroker, metrics } = createJudges(level)
    fromBroker(delivery(level, YOURS, qos))
    expect(atClient()).toEqual([])
    expect(atBroker()).toEqual(expected)
    const text = await metrics()
    expect(text).toMatch(/sallyport_mqtt_denied_total\{.*act="receive",reason="topic_denied".*\} 1/)
    expect(text).toMatch(/sallyport_mqtt_dropped_total\{.*why="denied".*\} 1/)
  })
  test('of the door’s own topics is nobody’s, whatever a rule says', () => {
    const { fromBroker, atClient, admission } = createJudges(level)
    admission.rules = [{ filter: '$sallyport/#', acts: ['receive'] }]
    fromBroker(delivery(level, '$sallyport/certificates/renew/accepted'))
    expect(atClient()).toEqual([])
  })
  test('QoS 2 that was dropped: its PUBREL ends here, another’s does not', () => {
    const { fromBroker, atClient, atBroker } = createJudges(level)
    fromBroker(delivery(level, YOURS, 2), '62020008', '62020007', '62020007')
    expect(atBroker()).toEqual(['50020007', '70020007'])
    expect(atClient()).toEqual(['62020008', '62020007'])
  })
  test('QoS 2 that was dropped: the same id before its PUBREL is the same message', () => {
    const { fromBroker, atClient, atBroker } = createJudges(level)
    fromBroker(delivery(level, YOURS, 2), delivery(level, MINE, 2), '62020007', delivery(level, MINE, 2))
    expect(atBroker()).toEqual(['50020007', '50020007', '70020007'])
    expect(atClient()).toEqual([hex(delivery(level, MINE, 2))])
  })
  test('QoS 2 that is sent again may be known to the client: its PUBREL goes there', () => {
    const { fromBroker, fromClient, atClient, atBroker } = createJudges(level)
    fromBroker(delivery(level, YOURS, 2, { dup: true }), '62020007')
    expect(atClient()).toEqual(['62020007'])
    fromClient('70020007')
    expect(atBroker()).toEqual(['50020007', '70020007'])
  })
  test('with a window of one: what is dropped makes room at once', () => {
    const { fromBroker, atClient, atBroker } = createJudges(level)
    // a broker that sends the next one only when the one before is acknowledged
    for (let id = 1; id <= 20; id++) {
      const topic = id % 4 === 0 ? MINE : YOURS
      fromBroker(delivery(level, topic, 1, { id }))
      const said = topic === MINE ? atClient() : atBroker()
      expect(said).toHaveLength(1)
    }
  })
  test.each(['certificate_revoked', 'registry_unavailable', 'policy_denied'] as const)(
    'that is refused for another reason than its topic, %s, is acknowledged by nobody',
    (reason) => {
      const { fromBroker, atClient, atBroker, admission } = createJudges(level)
      admission.denied.set('lamp-1', reason)
      expect(fromBroker(delivery(level, MINE, 0))).toBeUndefined()
      expect(fromBroker(delivery(level, MINE, 1))).toMatchObject({ reason, recorded: true })
      expect([...atClient(), ...atBroker()]).toEqual([])
    },
  )
  test.each<[string, string]>([
    ['a PUBLISH without a topic', level === 5 ? '300400000000' : '30020000'],
    ['a PUBLISH that does not fit', '30020010'],
    ['a SUBACK of nothing', level === 5 ? '9003000900' : '90020009'],
    ['a PUBACK of one byte', '400100'],
    ['a PINGRESP with a body', 'd00100'],
    ['a second CONNACK', level === 5 ? '2003000000' : '20020000'],
    ['a SUBSCRIBE', '8206000900017800'],
  ])('a broker that says %s is not believed', (_, bytes) => {
    expect(createJudges(level).fromBroker(bytes)?.reason).toMatch(/target_unreachable|bad_request/)
  })
})

describe('MQTT 5', () => {
  test('an alias from the broker is an error of its', () => {
    const { fromBroker } = createJudges(5)
    expect(
      fromBroker(delivery(5, MINE, 0, { properties: [{ name: 'topicAlias', value: 1 }] })),
    ).toMatchObject({ reason: 'target_unreachable' })
  })
  test('subscription identifiers go down', () => {
    const { fromBroker, atClient } = createJudges(5)
    const properties = [1, 300].map((value): Property => ({ name: 'subscriptionIdentifier', value }))
    fromBroker(delivery(5, MINE, 0, { properties }))
    expect(atClient()).toEqual([hex(delivery(5, MINE, 0, { properties }))])
  })
  test.each([
    ['e0018b', 0x8b],
    ['e0018e', 0x8e],
    ['e000', 0],
  ])('the broker takes its leave: %s', (bytes, code) => {
    expect(createJudges(5).fromBroker(bytes)).toMatchObject({ reason: 'target_unreachable', code })
  })
  test('a PUBREC that says no makes room', () => {
    const { fromClient, fromBroker } = createJudges(5, { limits: { receive_maximum: 1 } })
    fromClient(delivery(5, MINE, 2, { id: 1 }))
    fromBroker('5003000197')
    expect(fromClient(delivery(5, MINE, 2, { id: 1 }))).toBeUndefined()
  })
})

describe.each(LEVELS)('level %d: a change of policy', (level) => {
  test('bites between two packets, and what may no longer be subscribed to is ended at the broker, once', () => {
    const { fromClient, fromBroker, atClient, atBroker, admission, exchange } = createJudges(level)
    fromClient(subscribe(level, 9, MINE, 'fleet/broadcast/#', '$share/g/devices/lamp-1/y'))
    fromBroker(level === 5 ? '9006000900010101' : '90050009010101')
    fromBroker(delivery(level, MINE, 1))
    expect(atClient()).toHaveLength(2)
    atBroker()
    admission.rules = [{ filter: 'fleet/broadcast/#', acts: ['subscribe', 'receive'] }]
    admission.changed()
    fromBroker(delivery(level, 'fleet/broadcast/a'))
    fromBroker(delivery(level, MINE, 1), delivery(level, MINE, 1))
    expect(atClient()).toEqual([hex(delivery(level, 'fleet/broadcast/a'))])
    expect(atBroker()).toEqual([
      '40020007',
      hex(makeUnsubscribe(level, { id: 65_535, filters: [MINE, '$share/g/devices/lamp-1/y'] })),
      '40020007',
    ])
    expect([...exchange.subscriptions.some(9)]).toEqual(['fleet/broadcast/#'])
    // nobody but the door is told
    fromBroker(level === 5 ? 'b005ffff000000' : 'b002ffff')
    expect(atClient()).toEqual([])
  })
  test('the door’s UNSUBSCRIBE does not use an id of the client’s, nor forbid it one', () => {
    const { fromClient, fromBroker, atClient, atBroker, admission } = createJudges(level)
    fromClient(subscribe(level, 65_535, MINE), delivery(level, MINE, 1, { id: 65_534 }))
    atBroker()
    admission.rules = [{ filter: 'other/#', acts: ['subscribe', 'receive', 'publish'] }]
    admission.changed()
    fromBroker(delivery(level, MINE))
    expect(atBroker()).toEqual([hex(makeUnsubscribe(level, { id: 65_533, filters: [MINE] }))])
    expect(fromClient(subscribe(level, 65_533, 'other/a'))).toBeUndefined()
    fromBroker(level === 5 ? 'b004fffd0000' : 'b002fffd', level === 5 ? '9004fffd0001' : '9003fffd01')
    expect(atClient()).toEqual([level === 5 ? '9004fffd0001' : '9003fffd01'])
  })
})

describe.each(LEVELS)('level %d: the door’s own UNSUBSCRIBEs', (level) => {
  const closeAll = ({ admission, fromBroker }: ReturnType<typeof createJudges>, topic = MINE): void => {
    admission.rules = [{ filter: 'other/#', acts: ['subscribe', 'receive'] }]
    admission.changed()
    fromBroker(delivery(level, topic))
  }
  const unsubscribes = (of: readonly string[]): string[] => of.filter((bytes) => bytes.startsWith('a2'))
  const idsOf = (of: readonly string[]): string[] =>
    unsubscribes(of).map((bytes) => {
      const packet = Buffer.from(bytes, 'hex')
      const body = 1 + packet.subarray(1).findIndex((byte) => byte < 128) + 1
      return packet.toString('hex', body, body + 2)
    })

  test('have an id each, and nobody but the door hears of any', () => {
    const judges = createJudges(level, { limits: { subscriptions: 300 } })
    const { fromClient, fromBroker, atClient, atBroker, admission } = judges
    const topics = Array.from({ length: 250 }, (_, at) => `devices/lamp-1/${at}`)
    for (let at = 0; at < 250; at += 50) fromClient(subscribe(level, at + 1, ...topics.slice(at, at + 50)))
    atBroker()
    closeAll(judges)
    const first = idsOf(atBroker())
    expect(first).toEqual(['ffff', 'fffe', 'fffd'])
    // and once more, before any has been answered
    fromClient(subscribe(level, 900, 'other/a'))
    admission.rules = [{ filter: 'none/#', acts: ['receive'] }]
    admission.changed()
    fromBroker(delivery(level, MINE))
    expect(idsOf(atBroker())).toEqual(['fffc'])
    for (const id of [...first, 'fffc']) fromBroker(level === 5 ? `b004${id}0000` : `b002${id}`)
    expect(atClient()).toEqual([])
  })
  test('have no id behind which the client waits', () => {
    const judges = createJudges(level)
    const { fromClient, fromBroker, atClient, atBroker, said } = judges
    fromClient(subscribe(level, 9, 'devices/lamp-1/1', 'devices/lamp-1/2'))
    const parting = makeUnsubscribe(level, { id: 65_535, filters: ['a'] })
    fromClient(parting)
    atBroker()
    closeAll(judges)
    expect(idsOf(atBroker())).toEqual(['fffe'])
    fromBroker(level === 5 ? 'b005fffe000000' : 'b002fffe')
    expect(said.goOn).toBe(0)
    const answer = level === 5 ? 'b004ffff0000' : 'b002ffff'
    fromBroker(answer)
    expect(atClient()).toEqual([answer])
    expect(said.goOn).toBe(1)
  })
})

test.each(LEVELS)('level %d: nothing goes down before the CONNACK', (level) => {
  const { fromBroker, atClient } = createJudges(level, { connack: '' })
  const one = delivery(level, MINE, 1)
  fromBroker(one, delivery(level, YOURS), '62020009')
  expect(atClient()).toEqual([])
  fromBroker(level === 5 ? '2003000000' : '20020000')
  expect(atClient()).toEqual([`20020000${hex(one)}62020009`])
  fromBroker(one)
  expect(atClient()).toEqual([hex(one)])
})

test.each(LEVELS)('level %d: nor more than a megabyte of it is kept', (level) => {
  const { fromBroker, atClient } = createJudges(level, { connack: '' })
  const bytes = makePublish({ level, topic: MINE, payload: Buffer.alloc(63 * 1_024) })
  for (let at = 0; at < 16; at += 1) expect(fromBroker(bytes)).toBeUndefined()
  expect(fromBroker(bytes)).toMatchObject({ reason: 'target_unreachable' })
  expect(atClient()).toEqual([])
})
