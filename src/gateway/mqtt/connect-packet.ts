/**
 * CONNECT, of MQTT 3.1, 3.1.1 and 5: read strictly, and written again with the name that admission gave. Not who the client is: what stands here is
 * what it says of itself. Of its user name and password only that they fit.
 */

import { isTopicName } from '#wire/topics.ts'
import {
  lacksMethod,
  NOTHING_SAID,
  v5Of,
  willV5,
  writeV5,
  type ConnectV5,
  type WillV5,
} from './connect-properties.ts'
import {
  decodeText,
  field16,
  fieldEnd,
  number16,
  packet,
  read16,
  readText,
  text16,
  TYPE,
  type Level,
} from './packets.ts'
import { NO_PROPERTIES, readProperties, type Property } from './properties.ts'

export type Will = WillV5 & {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

export type Connect = {
  readonly level: Level
  readonly clientId: string
  /** Clean Session, in MQTT 5 Clean Start */
  readonly clean: boolean
  /** seconds; 0: none */
  readonly keepalive: number
  readonly will: Will | undefined
  /** level 5 */
  readonly v5?: ConnectV5
}

/** `version`: a protocol level that is no version of MQTT, or not under this name. */
export type ConnectReading =
  | { readonly kind: 'connect'; readonly connect: Connect }
  | { readonly kind: 'version'; readonly level: number }
  | { readonly kind: 'malformed'; readonly detail: string }

/** Protocol levels by protocol name. */
const LEVELS: Readonly<Record<string, readonly number[]>> = { MQTT: [4, 5], MQIsdp: [3] }

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

/** The fields behind the keep-alive, one after the other; each gives undefined, and so does all that follows, once anything did not fit. */
const fieldsOf = (bytes: Buffer, from: number, end: number) => {
  let at = from
  let broken = false
  /** @returns where the content of a field with its length begins; it ends at `at` */
  const next = (): number | undefined => {
    const start = at + 2
    const until = broken ? -1 : fieldEnd(bytes, at, end)
    if (until === -1) {
      broken = true
      return undefined
    }
    at = until
    return start
  }
  return {
    text: (): string | undefined => {
      const start = next()
      const text = start === undefined ? undefined : decodeText(bytes, start, at)
      if (text === undefined) broken = true
      return text
    },
    data: (): Buffer | undefined => {
      const start = next()
      return start === undefined ? undefined : Buffer.from(bytes.subarray(start, at))
    },
    properties: (where: 'connect' | 'will'): readonly Property[] | undefined => {
      const read = broken ? undefined : readProperties(bytes, at, end, where)
      if (read === undefined) broken = true
      else at = read.next
      return read?.list
    },
    atEnd: () => at === end,
    broken: () => broken,
  }
}

/** @param body where the variable header begins */
export const readConnect = (bytes: Buffer, body: number, end: number): ConnectReading => {
  const name = readText(bytes, body, end)
  // an unknown protocol is not answered [MQTT-3.1.2-1]
  const known = name && Object.hasOwn(LEVELS, name.text) ? LEVELS[name.text] : undefined
  if (name === undefined || known === undefined) return malformed('the protocol name is not MQTT')
  if (name.next >= end) return malformed('the protocol level is missing')
  const level = bytes[name.next] as number
  // the rest of a version that is not spoken here is not read either
  if (!known.includes(level)) return { kind: 'version', level }
  const rest = name.next + 1
  if (rest + 3 > end) return malformed('the packet ends in its variable header')
  return readRest(bytes, rest, end, level as Level)
}

/** @returns why these flags may not be */
const flagsWrong = (flags: number, level: Level): string | undefined => {
  const has = (flag: number): boolean => (flags & flag) !== 0
  if (level > 3 && has(FLAG.reserved)) return 'the reserved flag is set' // [MQTT-3.1.2-3]
  if ((flags & FLAG.willQos) === FLAG.willQos) return 'the will has QoS 3' // [MQTT-3.1.2-14; MQTT 5: MQTT-3.1.2-12]
  if (!has(FLAG.will) && has(FLAG.willQos | FLAG.willRetain)) return 'will flags without a will' // [MQTT-3.1.2-11, -13, -15]
  // [MQTT-3.1.2-22]; MQTT 5 lets a password stand for other credentials (§3.1.2.9)
  if (level === 4 && has(FLAG.password) && !has(FLAG.username)) return 'a password without a username'
  return undefined
}

const readRest = (bytes: Buffer, at: number, end: number, level: Level): ConnectReading => {
  const flags = bytes[at] as number
  const has = (flag: number): boolean => (flags & flag) !== 0
  const wrong = flagsWrong(flags, level)
  if (wrong !== undefined) return malformed(wrong)

  const fields = fieldsOf(bytes, at + 3, end)
  const properties = level === 5 ? fields.properties('connect') : undefined
  const clientId = fields.text()
  const willProperties = level === 5 && has(FLAG.will) ? fields.properties('will') : undefined
  const topic = has(FLAG.will) ? fields.text() : undefined
  const payload = has(FLAG.will) ? fields.data() : undefined
  // Read for their form only: the certificate says who it is. MQTT 3.1 §3.1: the flags may promise more than there is.
  const optional = (flag: number): boolean => has(flag) && !(level === 3 && fields.atEnd())
  if (optional(FLAG.username)) fields.text()
  if (optional(FLAG.password)) fields.data()
  if (fields.broken() || clientId === undefined) return malformed('the payload does not fit its fields')
  if (!fields.atEnd()) return malformed('bytes are left over')

  const will =
    topic === undefined || payload === undefined
      ? undefined
      : {
          topic,
          payload,
          qos: ((flags & FLAG.willQos) >> 3) as Will['qos'],
          retain: has(FLAG.willRetain),
          ...willV5(willProperties),
        }
  if (will !== undefined && !isTopicName(will.topic)) return malformed('the will topic is not a topic name')
  // [MQTT-3.1.3-12]
  if (will?.responseTopic !== undefined && !isTopicName(will.responseTopic))
    return malformed("the will's response topic is not a topic name")
  if (properties !== undefined && lacksMethod(properties))
    return malformed('authentication data without a method')
  return {
    kind: 'connect',
    connect: {
      level,
      clientId,
      clean: has(FLAG.clean),
      keepalive: read16(bytes, at + 1),
      will,
      ...(properties === undefined ? {} : { v5: v5Of(properties) }),
    },
  }
}

/** What the door says to a broker of itself and of the client. */
export type Introduction = {
  /** at the broker */
  readonly clientId: string
  readonly username: string
  readonly password?: Uint8Array | undefined
  /** seconds; undefined: what the client asked */
  readonly keepalive?: number
  /** MQTT 5: said as the user property `sallyport-identity` */
  readonly identity?: string
}

/** CONNECT as the broker gets it: the client's wishes, under the name that is given here. */
export const makeConnect = (
  { level, clean, keepalive, will, v5 = NOTHING_SAID }: Omit<Connect, 'clientId'>,
  as: Introduction,
): Buffer => {
  const five = level === 5
  const flags =
    FLAG.username |
    (as.password === undefined ? 0 : FLAG.password) |
    (clean ? FLAG.clean : 0) |
    (will === undefined ? 0 : FLAG.will | (will.qos << 3) | (will.retain ? FLAG.willRetain : 0))
  return packet(
    TYPE.connect << 4,
    text16(level === 3 ? 'MQIsdp' : 'MQTT'),
    Uint8Array.of(level, flags),
    number16(as.keepalive ?? keepalive),
    ...(five ? [writeV5(v5, as.identity)] : []),
    text16(as.clientId),
    ...(will === undefined
      ? []
      : [...(five ? [will.properties ?? NO_PROPERTIES] : []), text16(will.topic), field16(will.payload)]),
    text16(as.username),
    ...(as.password === undefined ? [] : [field16(as.password)]),
  )
}

/**
 * Ends what a broker remembers of a ClientID, and no will comes of it: CONNECT, and DISCONNECT behind its CONNACK. In MQTT 5 the session is gone on
 * with and ends then: a clean start would make the broker publish a will that it has been told to delay. One message at a time may come meanwhile.
 * In 3.x a clean session has nothing before it [MQTT-3.1.2-6].
 */
export const makeForget = (
  level: Level,
  clientId: string,
  login: { readonly username: string; readonly password?: Uint8Array | undefined },
): Buffer =>
  makeConnect(
    { level, clean: level < 5, keepalive: 0, will: undefined, v5: { ...NOTHING_SAID, receiveMaximum: 1 } },
    { clientId, ...login },
  )
