import fc from 'fast-check'
import { expect, test } from 'vitest'
import { makeAck, readAck } from '#gateway/mqtt/ack-packets.ts'
import { TYPE, type Level } from '#gateway/mqtt/packets.ts'
import { userProperty, writeProperties, type Property } from '#gateway/mqtt/properties.ts'
import { makePublish, readPublish } from '#gateway/mqtt/publish-packet.ts'
import { createJudges } from '../../../support/mqtt-judges.ts'

const TOPICS = ['devices/lamp-1/a', 'devices/lamp-2/a', 'shared/a', '$SYS/a', '$sallyport/a'] as const
const POLICIES = [
  [],
  [{ filter: 'shared/#', acts: ['publish'] }],
  [{ filter: '#', acts: ['publish'] }],
] as const

type Action =
  | {
      readonly kind: 'publish'
      readonly topic: number
      readonly qos: 0 | 1 | 2
      readonly alias: number
      readonly ours: boolean
    }
  | { readonly kind: 'policy'; readonly of: number }
  /** the broker answers what it owes; the client what it owes */
  | { readonly kind: 'broker' }
  | { readonly kind: 'client' }

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      topic: fc.nat(TOPICS.length - 1),
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
      alias: fc.nat(3),
      ours: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('policy' as const), of: fc.nat(POLICIES.length - 1) }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'broker' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'client' as const }) },
)

/** A packet that came through in one piece. */
const whole = (hex: string): Buffer => Buffer.from(hex, 'hex')
const bodyOf = (bytes: Buffer): number => 1 + bytes.subarray(1).findIndex((byte) => byte < 128) + 1

/**
 * A client and a broker that both keep to the rules, and a policy that changes between any two packets: what the broker sees was allowed at that
 * moment, under its whole topic, and every flow comes to its end, wherever that was decided.
 */
const play = (level: Level, actions: readonly Action[]): void => {
  const limits = { receive_maximum: 65_535, denied_per_minute: 1_000_000 }
  const judges = createJudges(level, { denyPublish: 'drop', limits })
  const { fromClient, fromBroker, admission, exchange } = judges
  /** by id: what the client waits for */
  const flows = new Map<number, 'puback' | 'pubrec' | 'pubcomp'>()
  const aliases = new Map<number, number>()
  let owedByBroker: Buffer[] = []
  let owedByClient: Buffer[] = []
  let nextId = 0

  const isAllowed = (topic: string): boolean =>
    admission.judge({ leaf: { commonName: 'lamp-1' } } as never, {
      door: 'mqtt',
      host: '',
      act: 'publish',
      topic,
    }).allow

  const look = (): void => {
    for (const hex of judges.atBroker()) {
      const bytes = whole(hex)
      const type = (bytes[0] as number) >> 4
      if (type === TYPE.pubrel) {
        owedByBroker.push(makeAck(level, TYPE.pubcomp, bytes.readUInt16BE(2)))
        continue
      }
      expect(type).toBe(TYPE.publish)
      const head = readPublish(bytes, 0, bodyOf(bytes), bytes.length, level, 'broker')
      if (typeof head === 'string') throw new Error(head)
      expect([head.alias, head.ours]).toEqual([0, false])
      const topic = bytes.toString('utf8', head.topicFrom, head.topicUntil)
      expect(isAllowed(topic), topic).toBe(true)
      if (head.qos > 0) owedByBroker.push(makeAck(level, head.qos === 1 ? TYPE.puback : TYPE.pubrec, head.id))
    }
    for (const hex of judges.atClient()) {
      const bytes = whole(hex)
      const type = (bytes[0] as number) >> 4
      const ack = readAck(bytes, 2, bytes.length, level, type)
      if (ack === undefined) throw new Error(hex)
      const { id, code } = ack
      expect(flows.get(id)).toBe({ 4: 'puback', 5: 'pubrec', 7: 'pubcomp' }[type])
      if (type !== TYPE.pubrec || code >= 0x80) flows.delete(id)
      else {
        flows.set(id, 'pubcomp')
        owedByClient.push(makeAck(level, TYPE.pubrel, id))
      }
    }
  }

  const send = (bytes: Buffer | undefined, from: typeof fromClient): void => {
    if (bytes === undefined) return
    expect(from(bytes)).toBeUndefined()
    look()
  }

  const publish = ({ topic, qos, alias, ours }: Extract<Action, { kind: 'publish' }>): void => {
    const isKnown = level === 5 && alias > 0 && aliases.get(alias) === topic
    if (level === 5 && alias > 0) aliases.set(alias, topic)
    // ids are used again as soon as they are free
    do nextId = (nextId % 5) + 1
    while (flows.has(nextId) && flows.size < 5)
    if (qos > 0 && flows.has(nextId)) return
    if (qos > 0) flows.set(nextId, qos === 1 ? 'puback' : 'pubrec')
    const properties: Property[] = [
      ...(alias > 0 ? [{ name: 'topicAlias' as const, value: alias }] : []),
      ...(ours ? [userProperty('sallyport-identity', 'x')] : []),
    ]
    const name = isKnown ? '' : (TOPICS[topic] as string)
    send(
      makePublish({
        level,
        topic: name,
        payload: Buffer.alloc(3),
        qos,
        id: nextId,
        properties: writeProperties(properties),
      }),
      fromClient,
    )
  }

  for (const each of actions) {
    if (each.kind === 'publish') publish(each)
    else if (each.kind === 'broker') send(owedByBroker.shift(), fromBroker)
    else if (each.kind === 'client') send(owedByClient.shift(), fromClient)
    else {
      admission.rules = POLICIES[each.of] ?? []
      admission.changed()
    }
  }
  while (owedByBroker.length + owedByClient.length > 0) {
    const now = [owedByBroker, owedByClient] as const
    owedByBroker = []
    owedByClient = []
    for (const bytes of now[0]) send(bytes, fromBroker)
    for (const bytes of now[1]) send(bytes, fromClient)
  }
  expect([...flows]).toEqual([])
  exchange.flows.limit = 1
  expect(exchange.flows.full || exchange.flows.crowded).toBe(false)
}

test.each([3, 4, 5] as const)(
  'level %d: nothing that is denied reaches the broker, and every flow comes to its end',
  (level) => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => play(level, actions)),
      { numRuns: 50, seed: 5 },
    )
  },
)
