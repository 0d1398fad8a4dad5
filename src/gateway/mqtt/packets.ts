/**
 * What every MQTT packet is made of (MQTT 3.1, 3.1.1 and 5): types and flags, numbers, strings, lengths; read in place and strictly. Not any one
 * packet: those are ./*-packet.ts and their neighbours. No verdicts.
 */

import { isUtf8 } from 'node:buffer'
import { FleetError } from '#fleet/errors.ts'

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
  auth: 15,
} as const

/** As CONNECT says it. 3: MQTT 3.1; 4: MQTT 3.1.1; 5: MQTT 5 */
export type Level = 3 | 4 | 5

/** Who sends a packet; where it matters to its form. */
export type Side = 'client' | 'broker'

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

/** The first byte that a client may send before its CONNECT is done. */
export const opensConnect = openers(plain(connect))

const clientBytes = [
  ...publishBytes,
  ...plain(puback, pubrec, pubcomp, pingreq, disconnect),
  ...marked(pubrel, subscribe, unsubscribe),
]
/**
 * First bytes that a client may send after CONNECT. AUTH is none of them: it is only for who has named an authentication method
 * [MQTT-4.12.0-6], and the door takes none.
 */
export const opensFromClient: Readonly<Record<Level, (first: number) => boolean>> = {
  // MQTT 3.1 §3.6, §3.8, §3.10: these had QoS 1, and DUP when sent again
  3: openers([...clientBytes, ...marked(pubrel, subscribe, unsubscribe).map((first) => first | DUP)]),
  4: openers(clientBytes),
  5: openers(clientBytes),
}

const brokerBytes = [
  ...publishBytes,
  ...plain(connack, puback, pubrec, pubcomp, suback, unsuback, pingresp),
  ...marked(pubrel),
]
/** First bytes that a broker may send. It takes its leave in MQTT 5 only. */
export const opensFromBroker: Readonly<Record<Level, (first: number) => boolean>> = {
  // MQTT 3.1 §3.6
  3: openers([...brokerBytes, ...marked(pubrel).map((first) => first | DUP)]),
  4: openers(brokerBytes),
  5: openers([...brokerBytes, ...plain(disconnect)]),
}

/** No bounds are checked: the caller knows that two bytes are there. */
export const read16 = (bytes: Buffer, at: number): number =>
  ((bytes[at] as number) << 8) | (bytes[at + 1] as number)

/**
 * Is it text? Strict: no surrogates, no overlong forms [MQTT-1.5.3-1, MQTT-1.5.4-1], no NUL [MQTT-1.5.3-2, MQTT-1.5.4-2]. U+FEFF is a
 * character like others [MQTT-1.5.4-3]. Plain ASCII costs no memory.
 */
export const isText = (bytes: Buffer, from: number, until: number): boolean => {
  for (let at = from; at < until; at++) {
    const byte = bytes[at] as number
    if (byte === 0) return false
    if (byte < 0x80) continue
    const rest = bytes.subarray(at, until)
    return isUtf8(rest) && !rest.includes(0)
  }
  return true
}

/** Where a field with its two-byte length ends. @returns -1 when it does not fit */
export const fieldEnd = (bytes: Buffer, at: number, end: number): number => {
  if (at + 2 > end) return -1
  const until = at + 2 + read16(bytes, at)
  return until > end ? -1 : until
}

/** @returns undefined when it is not text: {@link isText} */
export const decodeText = (bytes: Buffer, from: number, until: number): string | undefined =>
  isText(bytes, from, until) ? bytes.toString('utf8', from, until) : undefined

/** A string with its two-byte length. @returns undefined when it is not text or does not fit */
export const readText = (
  bytes: Buffer,
  at: number,
  end: number,
): { readonly text: string; readonly next: number } | undefined => {
  const next = fieldEnd(bytes, at, end)
  const text = next === -1 ? undefined : decodeText(bytes, at + 2, next)
  return text === undefined ? undefined : { text, next }
}

/** @returns 0 when there is none: no packet has that id [MQTT-2.3.1-1] */
export const readId = (bytes: Buffer, at: number, end: number): number =>
  at + 2 > end ? 0 : read16(bytes, at)

/** A Variable Byte Integer (MQTT 5 §1.5.5), whose size then is {@link varintSize}. @returns -1 when malformed, or longer than need be [MQTT-1.5.5-1] */
export const readVarint = (bytes: Buffer, at: number, end: number): number => {
  let value = 0
  for (let digits = 0; digits < 4 && at + digits < end; digits++) {
    const digit = bytes[at + digits] as number
    value |= (digit & 0x7f) << (7 * digits)
    if (digit < 128) return digit === 0 && digits > 0 ? -1 : value
  }
  return -1
}

/** Bytes of its shortest form. */
export const varintSize = (value: number): number =>
  value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4

/** Writes it at `at`. @returns where it ends */
export const writeVarint = (bytes: Uint8Array, at: number, value: number): number => {
  let rest = value
  let next = at
  for (; rest > 127; rest >>= 7) bytes[next++] = (rest & 0x7f) | 0x80
  bytes[next++] = rest
  return next
}

/** The most that a Variable Byte Integer can say, and so the longest body of a packet. */
const MAX_VARINT = 268_435_455

export const varint = (value: number): Uint8Array => {
  const bytes = new Uint8Array(varintSize(value))
  writeVarint(bytes, 0, value)
  return bytes
}

/** @param first type and flags. @throws FleetError `internal`: too long */
export const packet = (first: number, ...parts: readonly Uint8Array[]): Buffer => {
  let length = 0
  for (const part of parts) length += part.length
  if (length > MAX_VARINT) throw new FleetError('internal', `an MQTT packet of ${length} bytes`)
  const bytes = Buffer.allocUnsafe(1 + varintSize(length) + length)
  bytes[0] = first
  let at = writeVarint(bytes, 1, length)
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

export const number16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff)

const tooLong = (length: number): FleetError => new FleetError('internal', `an MQTT field of ${length} bytes`)

/** With its length. @throws FleetError `internal`: too long. A length cut short would make a packet of what follows it. */
export const field16 = (bytes: Uint8Array): Buffer => {
  if (bytes.length > 0xffff) throw tooLong(bytes.length)
  return Buffer.concat([number16(bytes.length), bytes])
}

/** @throws FleetError `internal`: too long */
export const text16 = (text: string): Buffer => {
  const field = Buffer.allocUnsafe(2 + Buffer.byteLength(text))
  const length = field.write(text, 2)
  if (length > 0xffff) throw tooLong(length)
  field.writeUInt16BE(length)
  return field
}

export const PINGREQ = Buffer.of(pingreq << 4, 0)
export const PINGRESP = Buffer.of(pingresp << 4, 0)

/** What a client says before it leaves in order, in every version: its will is void [MQTT-3.14.4-3; MQTT 5: reason code 0, MQTT-3.1.2-8]. */
export const DISCONNECT = Buffer.of(disconnect << 4, 0)
