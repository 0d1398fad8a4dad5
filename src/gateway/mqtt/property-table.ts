/**
 * The properties of MQTT 5 (§2.2.2, table 2-4): how each is written, in which packets it may stand, and where more than once. Data; whoever reads or
 * writes them goes through ./properties.ts.
 */

import {
  field16,
  fieldEnd,
  isText,
  number16,
  read16,
  readVarint,
  text16,
  varint,
  varintSize,
} from './packets.ts'

/** Packets that hold properties. `publish`: from a client; `delivery`: a PUBLISH from a broker; so `disconnect` and `dismissal`. */
const PLACES = [
  'connect',
  'will',
  'connack',
  'publish',
  'delivery',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
  'disconnect',
  'dismissal',
] as const
export type PropertyPlace = (typeof PLACES)[number]

export const bitOf = Object.fromEntries(PLACES.map((place, at) => [place, 1 << at])) as Record<
  PropertyPlace,
  number
>
const EVERYWHERE = (1 << PLACES.length) - 1

export type PropertyValue = number | string | Buffer | readonly [name: string, value: string]

/** How a value is written. `end`: where one that begins at `at` ends, -1 when malformed or out of range; `read` is only asked about what has an end. */
type Kind = {
  readonly end: (bytes: Buffer, at: number, end: number) => number
  readonly read: (bytes: Buffer, at: number, until: number) => PropertyValue
  readonly write: (value: never) => Uint8Array
}

/** Two bytes. */
const short = (least: number): Kind => ({
  end: (bytes, at, end) => (at + 2 > end || read16(bytes, at) < least ? -1 : at + 2),
  read: read16,
  write: (value: number) => number16(value),
})

/** Four bytes. */
const long = (least: number): Kind => ({
  end: (bytes, at, end) => (at + 4 > end || bytes.readUInt32BE(at) < least ? -1 : at + 4),
  read: (bytes, at) => bytes.readUInt32BE(at),
  write: (value: number) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value),
})

const textEnd = (bytes: Buffer, at: number, end: number): number => {
  const until = fieldEnd(bytes, at, end)
  return until === -1 || !isText(bytes, at + 2, until) ? -1 : until
}

const pairEnd = (bytes: Buffer, at: number, end: number): number => {
  const middle = textEnd(bytes, at, end)
  return middle === -1 ? -1 : textEnd(bytes, middle, end)
}

/** A byte that is 0 or 1; any other is a protocol error (§3.1.2.11.6, §3.2.2.3.4, …). */
const flag: Kind = {
  end: (bytes, at, end) => (at >= end || (bytes[at] as number) > 1 ? -1 : at + 1),
  read: (bytes, at) => bytes[at] as number,
  write: (value: number) => Uint8Array.of(value),
}
const text: Kind = {
  end: textEnd,
  read: (bytes, at, until) => bytes.toString('utf8', at + 2, until),
  write: (value: string) => text16(value),
}
const data: Kind = {
  end: fieldEnd,
  read: (bytes, at, until) => Buffer.from(bytes.subarray(at + 2, until)),
  write: (value: Uint8Array) => field16(value),
}
const pair: Kind = {
  end: pairEnd,
  read: (bytes, at, until) => {
    const middle = fieldEnd(bytes, at, until)
    return [bytes.toString('utf8', at + 2, middle), bytes.toString('utf8', middle + 2, until)]
  },
  write: ([name, value]: readonly [string, string]) => Buffer.concat([text16(name), text16(value)]),
}
/** From 1 (§3.8.2.1.2). */
const identifier: Kind = {
  end: (bytes, at, end) => {
    const value = readVarint(bytes, at, end)
    return value < 1 ? -1 : at + varintSize(value)
  },
  read: readVarint,
  write: (value: number) => varint(value),
}

/** Packets that may say why. */
const ANSWERS = [
  'connack',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'suback',
  'unsuback',
  'disconnect',
  'dismissal',
] as const

/** MQTT 5 table 2-4. A value of 0 is a protocol error where the least is 1. */
const TABLE = [
  [1, 'payloadFormatIndicator', flag, 'will', 'publish', 'delivery'],
  [2, 'messageExpiryInterval', long(0), 'will', 'publish', 'delivery'],
  [3, 'contentType', text, 'will', 'publish', 'delivery'],
  [8, 'responseTopic', text, 'will', 'publish', 'delivery'],
  [9, 'correlationData', data, 'will', 'publish', 'delivery'],
  // not from a client to a server [MQTT-3.3.4-6]
  [11, 'subscriptionIdentifier', identifier, 'delivery', 'subscribe'],
  // not from a server [MQTT-3.14.2-2]
  [17, 'sessionExpiryInterval', long(0), 'connect', 'connack', 'disconnect'],
  [18, 'assignedClientIdentifier', text, 'connack'],
  [19, 'serverKeepAlive', short(0), 'connack'],
  [21, 'authenticationMethod', text, 'connect', 'connack'],
  [22, 'authenticationData', data, 'connect', 'connack'],
  [23, 'requestProblemInformation', flag, 'connect'],
  [24, 'willDelayInterval', long(0), 'will'],
  [25, 'requestResponseInformation', flag, 'connect'],
  [26, 'responseInformation', text, 'connack'],
  // "The Server sends DISCONNECT including a Server Reference" (§3.14.2.2.5)
  [28, 'serverReference', text, 'connack', 'dismissal'],
  [31, 'reasonString', text, ...ANSWERS],
  [33, 'receiveMaximum', short(1), 'connect', 'connack'],
  [34, 'topicAliasMaximum', short(0), 'connect', 'connack'],
  // 0 is none [MQTT-3.3.2-8], and has a code of its own: ./publish-packet.ts
  [35, 'topicAlias', short(0), 'publish', 'delivery'],
  [36, 'maximumQos', flag, 'connack'],
  [37, 'retainAvailable', flag, 'connack'],
  [38, 'userProperty', pair, ...PLACES],
  [39, 'maximumPacketSize', long(1), 'connect', 'connack'],
  [40, 'wildcardSubscriptionAvailable', flag, 'connack'],
  [41, 'subscriptionIdentifiersAvailable', flag, 'connack'],
  [42, 'sharedSubscriptionAvailable', flag, 'connack'],
] as const satisfies readonly (readonly [number, string, Kind, ...PropertyPlace[]])[]

export type PropertyName = (typeof TABLE)[number][1]

export type Row = {
  readonly id: number
  readonly name: PropertyName
  readonly kind: Kind
  /** where it may stand, and where more than once; bits of {@link bitOf} */
  readonly places: number
  readonly repeats: number
  /** its place in the table, as a bit */
  readonly mark: number
}

const REPEATS: Readonly<Partial<Record<PropertyName, number>>> = {
  userProperty: EVERYWHERE,
  // one for each subscription that a delivery answers (§3.3.2.3.8)
  subscriptionIdentifier: bitOf.delivery,
}

const ROWS: readonly Row[] = TABLE.map(([id, name, kind, ...places], at) => ({
  id,
  name,
  kind,
  places: places.reduce((bits, place) => bits | bitOf[place], 0),
  repeats: REPEATS[name] ?? 0,
  mark: 1 << at,
}))
/** No identifier needs more than one byte. */
export const rowById = Array.from({ length: 256 }, (_, id) => ROWS.find((row) => row.id === id))
export const rowByName = Object.fromEntries(ROWS.map((row) => [row.name, row])) as Readonly<
  Record<PropertyName, Row>
>

/** The identifier of each property. */
export const PROPERTY = Object.fromEntries(ROWS.map(({ name, id }) => [name, id])) as Readonly<
  Record<PropertyName, number>
>
