/**
 * Another library's word on what a packet is: mqtt-packet, which is not in the door. And packets to ask it about, by fast-check, with every
 * property that may stand in them by this page's own table of MQTT 5.
 */

import fc from 'fast-check'
import { generate, parser, type Packet } from 'mqtt-packet'
import type { Level } from '#gateway/mqtt/packets.ts'
import type { Property } from '#gateway/mqtt/properties.ts'
import type { PropertyName } from '#gateway/mqtt/property-table.ts'

type Kind = 'bit' | 'two' | 'four' | 'varint' | 'text' | 'data' | 'pair'

/** MQTT 5 table 2-4: id, name, kind, least value, packets. `publish`, `disconnect`: from either side; `<`: from a client only, `>`: from a server. */
const PAGE = `
01 payloadFormatIndicator           bit    0 will publish
02 messageExpiryInterval            four   0 will publish
03 contentType                      text   0 will publish
08 responseTopic                    text   1 will publish
09 correlationData                  data   0 will publish
0b subscriptionIdentifier           varint 1 >publish subscribe
11 sessionExpiryInterval            four   0 connect connack <disconnect
12 assignedClientIdentifier         text   0 connack
13 serverKeepAlive                  two    0 connack
15 authenticationMethod             text   0 connect connack
16 authenticationData               data   0 connect connack
17 requestProblemInformation        bit    0 connect
18 willDelayInterval                four   0 will
19 requestResponseInformation       bit    0 connect
1a responseInformation              text   0 connack
1c serverReference                  text   0 connack >disconnect
1f reasonString                     text   0 connack puback pubrec pubrel pubcomp suback unsuback disconnect
21 receiveMaximum                   two    1 connect connack
22 topicAliasMaximum                two    0 connect connack
23 topicAlias                       two    1 publish
24 maximumQos                       bit    0 connack
25 retainAvailable                  bit    0 connack
26 userProperty                     pair   0 connect connack will publish puback pubrec pubrel pubcomp subscribe suback unsubscribe unsuback disconnect
27 maximumPacketSize                four   1 connect connack
28 wildcardSubscriptionAvailable    bit    0 connack
29 subscriptionIdentifiersAvailable bit    0 connack
2a sharedSubscriptionAvailable      bit    0 connack
`

/** A packet and who sends it. */
export type Place = readonly [packet: string, from: 'client' | 'server']
export type Entry = {
  readonly id: number
  readonly name: PropertyName
  readonly kind: Kind
  readonly least: number
  mayStandIn(place: Place): boolean
}

export const ENTRIES: readonly Entry[] = PAGE.trim()
  .split('\n')
  .map((line) => {
    const [id = '', name, kind, least, ...packets] = line.split(/\s+/)
    return {
      id: Number.parseInt(id, 16),
      name: name as PropertyName,
      kind: kind as Kind,
      least: Number(least),
      mayStandIn: ([packet, from]) =>
        packets.includes(packet) || packets.includes(`${from === 'client' ? '<' : '>'}${packet}`),
    }
  })

const plain = fc.stringMatching(/^[a-z]{1,8}$/)
/** Text of any kind but NUL. */
export const text = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 12 })
  .filter((value) => value.isWellFormed() && !value.includes('\u0000'))
export const data = fc.uint8Array({ maxLength: 24 }).map((bytes) => Buffer.from(bytes))
export const id = fc.integer({ min: 1, max: 65_535 })
export const qos = fc.constantFrom(0 as const, 1 as const, 2 as const)
/** A topic name that the door takes. */
export const topic = fc.stringMatching(/^[a-zé☃$/]{1,16}$/u)

const valueOf: Readonly<Record<Kind, (least: number) => fc.Arbitrary<Property['value']>>> = {
  bit: () => fc.constantFrom(0, 1),
  two: (least) => fc.integer({ min: least, max: 0xffff }),
  four: (least) => fc.integer({ min: least, max: 0xffff_ffff }),
  varint: (least) => fc.integer({ min: least, max: 268_435_455 }),
  text: (least) => (least === 0 ? text : topic),
  data: () => data,
  pair: () => fc.tuple(fc.oneof(plain, fc.constantFrom('sallyport-x', 'Sallyport-Identity')), text),
}

/** Any properties that this packet may hold, user properties last, as mqtt-packet keeps them. */
export const propertiesIn = (place: Place): fc.Arbitrary<Property[]> =>
  fc
    .tuple(
      ...ENTRIES.filter((entry) => entry.mayStandIn(place)).map(({ name, kind, least }) => {
        const one = valueOf[kind](least).map((value): Property => ({ name, value }))
        const most = name === 'userProperty' || (kind === 'varint' && place[0] === 'publish') ? 4 : 1
        return fc.array(one, { maxLength: most })
      }),
    )
    .map((lists) => grouped(lists.flat()))

/** User properties of one name beside each other: mqtt-packet keeps them by name. */
const grouped = (list: readonly Property[]): Property[] => {
  const users = list.filter(({ name }) => name === 'userProperty')
  const names = [...new Set(users.map(({ value }) => (value as [string, string])[0]))]
  return [
    ...list.filter(({ name }) => name !== 'userProperty'),
    ...names.flatMap((name) => users.filter(({ value }) => (value as [string, string])[0] === name)),
  ]
}

const isBit = (name: string): boolean => ENTRIES.some((entry) => entry.name === name && entry.kind === 'bit')
const theirName = (name: PropertyName): string =>
  ({ maximumQos: 'maximumQoS', userProperty: 'userProperties' })[name as string] ?? name

const theirValue = (name: PropertyName, value: Property['value']): unknown =>
  isBit(name) && name !== 'maximumQos' ? value === 1 : value

/** The same properties as mqtt-packet has them. */
export const theirs = (list: readonly Property[]): Record<string, unknown> => {
  const found: Record<string, unknown> = {}
  const add = (to: Record<string, unknown>, key: string, value: unknown): void => {
    const before = to[key]
    to[key] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value]
  }
  const users = Object.create(null) as Record<string, unknown>
  for (const { name, value } of list)
    if (name === 'userProperty') add(users, (value as [string, string])[0], (value as [string, string])[1])
    else add(found, theirName(name), theirValue(name, value))
  return Object.keys(users).length === 0 ? found : { ...found, userProperties: users }
}

/** As mqtt-packet writes it. */
export const theirBytes = (level: Level, packet: Record<string, unknown>): Buffer =>
  generate(packet as unknown as Packet, { protocolVersion: level })

/** As mqtt-packet reads it. */
export const theirReading = (level: Level, bytes: Buffer): Record<string, unknown> => {
  const reader = parser({ protocolVersion: level })
  const found: unknown[] = []
  reader.on('packet', (packet) => found.push({ ...packet }))
  reader.on('error', (error) => {
    throw error
  })
  if (reader.parse(bytes) !== 0 || found.length !== 1) throw new Error('not one packet')
  return found[0] as Record<string, unknown>
}

/** Where its variable header begins. */
export const bodyAt = (bytes: Buffer): number => {
  let at = 1
  while ((bytes[at] as number) > 127) at++
  return at + 1
}

/** Without what is undefined: mqtt-packet says some of it so. */
export const said = (value: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined))
