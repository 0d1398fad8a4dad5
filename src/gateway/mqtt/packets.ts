/**
 * The shapes of MQTT 3.1 and 3.1.1 packets (MQTT 3.1.1 §3), read in place and strictly, and the few that the door makes itself.
 * Not CONNECT, which is ./connect-packet.ts, and no verdicts.
 */

import { isUtf8 } from 'node:buffer'

export const TYPE = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
} as const

/** 3: MQTT 3.1; 4: MQTT 3.1.1 */
export type Level = 3 | 4

const DUP = 0x08

/** DUP only with a QoS [MQTT-3.3.1-2]; QoS 3 does not exist [MQTT-3.3.1-4]. */
const publishBytes = Array.from({ length: 16 }, (_, flags) => (TYPE.publish << 4) | flags).filter((first) => {
  const qos = (first >> 1) & 3
  return qos !== 3 && !(qos === 0 && (first & DUP) !== 0)
})

const plain = (...types: readonly number[]): number[] => types.map((type) => type << 4)
/** Reserved flags 0010 [MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1]. */
const marked = (...types: readonly number[]): number[] => types.map((type) => (type << 4) | 2)

const openers = (firsts: readonly number[]): ((first: number) => boolean) => {
  const known = new Uint8Array(256)
  for (const first of firsts) known[first] = 1
  return (first) => known[first] === 1
}

const { connect, connack, puback, pubrec, pubrel, pubcomp } = TYPE
const { subscribe, suback, unsubscribe, unsuback, pingreq, pingresp, disconnect } = TYPE

/** First bytes that a client may send, before CONNECT and after it. */
export const opensConnect = openers(plain(connect))
const clientBytes = [
  ...publishBytes,
  ...plain(puback, pubrec, pubcomp, pingreq, disconnect),
  ...marked(pubrel, subscribe, unsubscribe),
]
export const opensFromClient: Readonly<Record<Level, (first: number) => boolean>> = {
  // MQTT 3.1 §3.6, §3.8, §3.10: these had QoS 1, and DUP when sent again
  3: openers([...clientBytes, ...marked(pubrel, subscribe, unsubscribe).map((first) => first | DUP)]),
  4: openers(clientBytes),
}
/** First bytes that a broker may send. */
export const opensFromBroker = openers([
  ...publishBytes,
  ...plain(connack, puback, pubrec, pubcomp, suback, unsuback, pingresp),
  ...marked(pubrel),
])

/** A string with its two-byte length [MQTT-1.5.3]. @returns undefined when it is not UTF-8, holds NUL, or does not fit. */
export const readText = (
  bytes: Buffer,
  at: number,
  end: number,
): { readonly text: string; readonly next: number } | undefined => {
  if (at + 2 > end) return undefined
  const from = at + 2
  const next = from + bytes.readUInt16BE(at)
  if (next > end) return undefined
  const text = decodeText(bytes, from, next)
  return text === undefined ? undefined : { text, next }
}

/** Strict: no surrogates, no overlong forms [MQTT-1.5.3-1], no NUL [MQTT-1.5.3-2]. */
export const decodeText = (bytes: Buffer, from: number, until: number): string | undefined => {
  const part = bytes.subarray(from, until)
  return isUtf8(part) && !part.includes(0) ? part.toString() : undefined
}

/** @returns 0 when there is none: no packet has that id [MQTT-2.3.1-1] */
export const readId = (bytes: Buffer, at: number, end: number): number =>
  at + 2 > end ? 0 : bytes.readUInt16BE(at)

export type Filter = { readonly filter: string; readonly qos: number }
export type FilterList<T> = { readonly id: number; readonly filters: readonly T[] }

const readList = <T>(
  bytes: Buffer,
  body: number,
  end: number,
  read: (text: string, at: number) => { readonly item: T; readonly next: number } | undefined,
): FilterList<T> | undefined => {
  const id = readId(bytes, body, end)
  if (id === 0) return undefined
  const filters: T[] = []
  let at = body + 2
  while (at < end) {
    const name = readText(bytes, at, end)
    const entry = name && read(name.text, name.next)
    if (entry === undefined) return undefined
    filters.push(entry.item)
    at = entry.next
  }
  // at least one [MQTT-3.8.3-3, MQTT-3.10.3-2]
  return filters.length === 0 ? undefined : { id, filters }
}

/** @returns undefined when malformed */
export const readSubscribe = (bytes: Buffer, body: number, end: number): FilterList<Filter> | undefined =>
  readList(bytes, body, end, (filter, at) => {
    const qos = at < end ? (bytes[at] as number) : 3
    // the other six bits are reserved [MQTT-3-8.3-4]
    return qos > 2 ? undefined : { item: { filter, qos }, next: at + 1 }
  })

/** @returns undefined when malformed */
export const readUnsubscribe = (bytes: Buffer, body: number, end: number): FilterList<string> | undefined =>
  readList(bytes, body, end, (item, next) => ({ item, next }))

/** @param first type and flags */
export const packet = (first: number, ...parts: readonly Uint8Array[]): Buffer => {
  let length = 0
  for (const part of parts) length += part.length
  const header = [first]
  let rest = length
  do {
    header.push(rest > 127 ? (rest & 0x7f) | 0x80 : rest)
    rest >>= 7
  } while (rest > 0)
  return Buffer.concat([Uint8Array.from(header), ...parts], header.length + length)
}

export const number16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff)

export const text16 = (text: string): Uint8Array => {
  const bytes = Buffer.from(text)
  return Buffer.concat([number16(bytes.length), bytes])
}

export const makeConnack = (code: number): Buffer => Buffer.from([0x20, 2, 0, code])

/** MQTT 5 §3.2, no properties: for a client whose version is not spoken here. */
export const makeConnack5 = (code: number): Buffer => Buffer.from([0x20, 3, 0, code, 0])

export const makeSuback = (id: number, codes: readonly number[]): Buffer =>
  packet(suback << 4, number16(id), Uint8Array.from(codes))

export const makeSubscribe = ({ id, filters }: FilterList<Filter>): Buffer =>
  packet(
    (subscribe << 4) | 2,
    number16(id),
    ...filters.flatMap(({ filter, qos }) => [text16(filter), Uint8Array.of(qos)]),
  )

/** PUBACK, PUBREC, PUBREL or PUBCOMP. */
export const makeAck = (type: number, id: number): Buffer =>
  Buffer.from([(type << 4) | (type === pubrel ? 2 : 0), 2, id >> 8, id & 0xff])

/** What a client says before it leaves in order: its will is void [MQTT-3.14.4-3]. */
export const DISCONNECT = Buffer.from([disconnect << 4, 0])
