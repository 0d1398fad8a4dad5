/**
 * CONNECT, of MQTT 3.1 and 3.1.1: read strictly, and written again with the name that admission gave. Of other versions only that
 * they are others. Not who the client is: what stands here is what it says of itself.
 */

import { isTopicName } from '#wire/topics.ts'
import { decodeText, number16, packet, readText, text16, TYPE, type Level } from './packets.ts'

export type Will = {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

export type Connect = {
  readonly level: Level
  readonly clientId: string
  readonly clean: boolean
  /** seconds; 0: none */
  readonly keepalive: number
  readonly will: Will | undefined
}

/** `version`: a protocol that is not spoken here; `five`: it is MQTT 5. */
export type ConnectReading =
  | { readonly kind: 'connect'; readonly connect: Connect }
  | { readonly kind: 'version'; readonly five: boolean }
  | { readonly kind: 'malformed'; readonly detail: string }

const NAMES: Readonly<Record<string, { readonly levels: readonly number[] }>> = {
  MQTT: { levels: [4, 5] },
  MQIsdp: { levels: [3] },
}

const FLAG = {
  reserved: 1,
  clean: 2,
  will: 4,
  willQos: 0x18,
  willRetain: 0x20,
  password: 0x40,
  username: 0x80,
}

const malformed = (detail: string): ConnectReading => ({ kind: 'malformed', detail })

/** The payload's fields, in the order of MQTT 3.1.1 §3.1.3; `read` gives undefined once anything did not fit. */
const fieldsOf = (bytes: Buffer, from: number, end: number) => {
  let at = from
  let broken = false
  const next = (): { from: number; until: number } | undefined => {
    const start = at + 2
    const until = at + 2 > end ? end + 1 : start + bytes.readUInt16BE(at)
    if (until > end) {
      broken = true
      return undefined
    }
    at = until
    return { from: start, until }
  }
  return {
    text: (): string | undefined => {
      const span = next()
      const text = span && decodeText(bytes, span.from, span.until)
      if (text === undefined) broken = true
      return text
    },
    data: (): Buffer | undefined => {
      const span = next()
      return span && Buffer.from(bytes.subarray(span.from, span.until))
    },
    atEnd: () => at === end,
    broken: () => broken,
  }
}

/** @param body where the variable header begins */
export const readConnect = (bytes: Buffer, body: number, end: number): ConnectReading => {
  const name = readText(bytes, body, end)
  // an unknown protocol is not answered [MQTT-3.1.2-1]
  const known = name && Object.hasOwn(NAMES, name.text) ? NAMES[name.text] : undefined
  if (name === undefined || known === undefined) return malformed('the protocol name is not MQTT')
  if (name.next >= end) return malformed('the protocol level is missing')
  const level = bytes[name.next] as number
  // the rest of a version that is not spoken here is not read either
  if (level === 5 && known.levels.includes(5)) return { kind: 'version', five: true }
  if (!known.levels.includes(level)) return { kind: 'version', five: false }
  const rest = name.next + 1
  if (rest + 3 > end) return malformed('the packet ends in its variable header')
  return readRest(bytes, rest, end, level as Level)
}

const readRest = (bytes: Buffer, at: number, end: number, level: Level): ConnectReading => {
  const flags = bytes[at] as number
  const has = (flag: number): boolean => (flags & flag) !== 0
  const qos = (flags & FLAG.willQos) >> 3
  if (level === 4 && has(FLAG.reserved)) return malformed('the reserved flag is set') // [MQTT-3.1.2-3]
  if (qos === 3) return malformed('the will has QoS 3') // [MQTT-3.1.2-14]
  if (!has(FLAG.will) && has(FLAG.willQos | FLAG.willRetain)) return malformed('will flags without a will') // [MQTT-3.1.2-11]
  if (level === 4 && has(FLAG.password) && !has(FLAG.username))
    return malformed('a password without a username') // [MQTT-3.1.2-22]

  const fields = fieldsOf(bytes, at + 3, end)
  const clientId = fields.text()
  const topic = has(FLAG.will) ? fields.text() : undefined
  const payload = has(FLAG.will) ? fields.data() : undefined
  // Read for their form only: the certificate says who it is. MQTT 3.1 §3.1: the flags may promise more than there is.
  const optional = (flag: number): boolean => has(flag) && !(level === 3 && fields.atEnd())
  if (optional(FLAG.username)) fields.text()
  if (optional(FLAG.password)) fields.data()
  if (fields.broken() || clientId === undefined) return malformed('the payload does not fit its fields')
  if (!fields.atEnd()) return malformed('bytes are left over')
  if (topic !== undefined && !isTopicName(topic)) return malformed('the will topic is not a topic name')
  return {
    kind: 'connect',
    connect: {
      level,
      clientId,
      clean: has(FLAG.clean),
      keepalive: bytes.readUInt16BE(at + 1),
      will:
        topic === undefined || payload === undefined
          ? undefined
          : { topic, payload, qos: qos as Will['qos'], retain: has(FLAG.willRetain) },
    },
  }
}

/** CONNECT as the broker gets it. @param name ClientID and username: the identity, whatever the client called itself */
export const makeConnect = ({ level, clean, keepalive, will }: Connect, name: string): Buffer => {
  const flags =
    FLAG.username |
    (clean ? FLAG.clean : 0) |
    (will === undefined ? 0 : FLAG.will | (will.qos << 3) | (will.retain ? FLAG.willRetain : 0))
  return packet(
    TYPE.connect << 4,
    text16(level === 3 ? 'MQIsdp' : 'MQTT'),
    Uint8Array.of(level, flags),
    number16(keepalive),
    text16(name),
    ...(will === undefined ? [] : [text16(will.topic), number16(will.payload.length), will.payload]),
    text16(name),
  )
}

/** Ends what a broker remembers of `name`: a clean session has nothing before it [MQTT-3.1.2-6]. */
export const makeCleanConnect = (name: string): Buffer =>
  makeConnect({ level: 4, clientId: name, clean: true, keepalive: 0, will: undefined }, name)
