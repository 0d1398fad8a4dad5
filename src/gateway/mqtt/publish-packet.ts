/**
 * PUBLISH (MQTT 5 §3.3): its head read in place, without taking memory; written anew when something in it may not go on; made. What its topic
 * and its response topic may be, and whose, is ./verdicts.ts: it remembers topics, and need not read them again.
 */

import {
  fieldEnd,
  number16,
  packet,
  read16,
  readId,
  text16,
  TYPE,
  varintSize,
  writeVarint,
  type Level,
  type Side,
} from './packets.ts'
import { isOursAt, NO_PROPERTIES, walkProperties, type Visit } from './properties.ts'
import { PROPERTY, type PropertyPlace } from './property-table.ts'

/**
 * Where the parts of a PUBLISH stand. There is one of these, which every {@link readPublish} fills anew: read it now, keep numbers.
 */
export type PublishHead = {
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly dup: boolean
  /** 0 with QoS 0 */
  readonly id: number
  /** UTF-8, not looked into; of no bytes: the alias stands for it */
  readonly topicFrom: number
  readonly topicUntil: number
  /** where the length of the properties stands; {@link PublishHead.payloadFrom} before MQTT 5 */
  readonly propertiesFrom: number
  readonly payloadFrom: number
  /** 0: none */
  readonly alias: number
  /** text without wildcards; 0, 0: none */
  readonly responseFrom: number
  readonly responseUntil: number
  /** 0, 0: none */
  readonly correlationFrom: number
  readonly correlationUntil: number
  /** it holds a user property that only the door may say */
  readonly ours: boolean
}

/** What {@link readPublish} says of an alias of 0: none is [MQTT-3.3.2-8], and that has a reason code of its own (§3.3.2.3.4). */
export const ALIAS_ZERO = 'topic alias 0'

const head = {
  qos: 0 as 0 | 1 | 2,
  retain: false,
  dup: false,
  id: 0,
  topicFrom: 0,
  topicUntil: 0,
  propertiesFrom: 0,
  payloadFrom: 0,
  alias: 0,
  responseFrom: 0,
  responseUntil: 0,
  correlationFrom: 0,
  correlationUntil: 0,
  ours: false,
}

const PLACE: Readonly<Record<Side, PropertyPlace>> = { client: 'publish', broker: 'delivery' }

const note: Visit = (bytes, id, _from, at, until) => {
  if (id === PROPERTY.topicAlias) head.alias = read16(bytes, at) || -1
  else if (id === PROPERTY.userProperty) head.ours ||= isOursAt(bytes, at)
  else if (id === PROPERTY.responseTopic) {
    head.responseFrom = at + 2
    head.responseUntil = until
  } else if (id === PROPERTY.correlationData) {
    head.correlationFrom = at + 2
    head.correlationUntil = until
  }
}

const PLUS = 0x2b
const HASH = 0x23

/** Of a response topic: at least one character [MQTT-4.7.3-1], no wildcards [MQTT-3.3.2-14]. That it is text has been seen. */
const isName = (bytes: Buffer, from: number, until: number): boolean => {
  for (let at = from; at < until; at++) if (bytes[at] === PLUS || bytes[at] === HASH) return false
  return from < until
}

/** @returns why it is malformed */
const readBehind = (bytes: Buffer, at: number, end: number, side: Side): string | undefined => {
  const next = walkProperties(bytes, at, end, PLACE[side], note)
  if (next === -1) return 'its properties are malformed'
  head.payloadFrom = next
  if (head.alias === -1) return ALIAS_ZERO
  // a topic, or an alias for one [MQTT-3.3.2-8] (§3.3.2.1)
  if (head.topicFrom === head.topicUntil && head.alias === 0) return 'no topic and no alias'
  if (head.responseFrom === 0 || isName(bytes, head.responseFrom, head.responseUntil)) return undefined
  return 'the response topic is not a topic name'
}

/**
 * @param start of the packet; its type and flags have been looked at: opensFrom… in ./packets.ts
 * @param body where the variable header begins
 * @returns the head, the same object each time; or what is wrong
 */
export const readPublish = (
  bytes: Buffer,
  start: number,
  body: number,
  end: number,
  level: Level,
  side: Side,
): PublishHead | string => {
  const first = bytes[start] as number
  const qos = (first >> 1) & 3
  if (qos === 3) return 'QoS 3' // [MQTT-3.3.1-4]
  const topicUntil = fieldEnd(bytes, body, end)
  if (topicUntil === -1) return 'the topic does not fit'
  let at = topicUntil
  head.id = 0
  if (qos > 0) {
    head.id = readId(bytes, at, end)
    if (head.id === 0) return 'no packet id' // [MQTT-2.2.1-3]
    at += 2
  }
  head.qos = qos as PublishHead['qos']
  head.retain = (first & 1) !== 0
  head.dup = (first & 8) !== 0
  head.topicFrom = body + 2
  head.topicUntil = topicUntil
  head.propertiesFrom = at
  head.payloadFrom = at
  head.alias = 0
  head.responseFrom = head.responseUntil = 0
  head.correlationFrom = head.correlationUntil = 0
  head.ours = false
  // [MQTT-4.7.3-1]
  if (level < 5) return topicUntil === body + 2 ? 'no topic' : head
  return readBehind(bytes, at, end, side) ?? head
}

const goesOn = (bytes: Buffer, id: number, at: number): boolean =>
  id !== PROPERTY.topicAlias && !(id === PROPERTY.userProperty && isOursAt(bytes, at))

/** What {@link rewritePublish} walks with: first how much goes on, then it is copied. */
let kept = 0
const nothing = Buffer.alloc(0)
let into = nothing
const count: Visit = (bytes, id, from, at, until) => {
  if (goesOn(bytes, id, at)) kept += until - from
}
const copy: Visit = (bytes, id, from, at, until) => {
  if (goesOn(bytes, id, at)) kept += bytes.copy(into, kept, from, until)
}

/**
 * The same message with its full topic, without an alias and without user properties that are ours.
 * @param read what {@link readPublish} has just said of it
 */
export const rewritePublish = (
  bytes: Buffer,
  start: number,
  end: number,
  read: PublishHead,
  topic: Uint8Array,
): Buffer => {
  const { qos, id, propertiesFrom, payloadFrom } = read
  const five = propertiesFrom < payloadFrom
  kept = 0
  // whatever may stand in a delivery: it has been read
  if (five) walkProperties(bytes, propertiesFrom, payloadFrom, 'delivery', count)
  const properties = kept
  const length =
    2 +
    topic.length +
    (qos > 0 ? 2 : 0) +
    (five ? varintSize(properties) + properties : 0) +
    (end - payloadFrom)
  const out = Buffer.allocUnsafe(1 + varintSize(length) + length)
  out[0] = bytes[start] as number
  let at = writeVarint(out, 1, length)
  at = out.writeUInt16BE(topic.length, at)
  out.set(topic, at)
  at += topic.length
  if (qos > 0) at = out.writeUInt16BE(id, at)
  if (five) {
    kept = writeVarint(out, at, properties)
    into = out
    walkProperties(bytes, propertiesFrom, payloadFrom, 'delivery', copy)
    into = nothing
    at = kept
  }
  bytes.copy(out, at, payloadFrom, end)
  return out
}

/**
 * @param o.id with QoS 1 and 2
 * @param o.properties MQTT 5: a whole section, as ./properties.ts writeProperties gives it
 */
export const makePublish = (o: {
  readonly level: Level
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos?: 0 | 1 | 2
  readonly id?: number
  readonly retain?: boolean
  readonly properties?: Uint8Array
}): Buffer => {
  const { qos = 0 } = o
  return packet(
    (TYPE.publish << 4) | (qos << 1) | (o.retain === true ? 1 : 0),
    text16(o.topic),
    ...(qos > 0 ? [number16(o.id ?? 0)] : []),
    ...(o.level === 5 ? [o.properties ?? NO_PROPERTIES] : []),
    o.payload,
  )
}
