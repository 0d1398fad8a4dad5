/** CONNACK: the broker's, read; the one that the client gets instead; and those that the door makes by itself. */

import { REASONS_IN } from '#wire/mqtt-codes.ts'
import { packet, TYPE, type Level } from './packets.ts'
import { isTheirs, numberOf, readProperties, said, writeProperties, type Property } from './properties.ts'
import type { PropertyName } from './property-table.ts'

export type Connack = {
  readonly sessionPresent: boolean
  /** a return code of 3.x, a reason code of MQTT 5 */
  readonly code: number
  /** none before MQTT 5; numberOf and textOf of ./properties.ts ask for one */
  readonly properties: readonly Property[]
}

/** MQTT 3.1.1 §3.2.2.3: the others are reserved. */
const LAST_RETURN_CODE = 5

/** @returns undefined when malformed */
export const readConnack = (bytes: Buffer, body: number, end: number, level: Level): Connack | undefined => {
  if (body + 2 > end || (level < 5 && body + 2 !== end)) return undefined
  const flags = bytes[body] as number
  const code = bytes[body + 1] as number
  // MQTT 3.1 §3.2: the byte is reserved, session present came with 3.1.1
  if (level > 3 && flags > 1) return undefined // [MQTT-3.2.2-1]
  const sessionPresent = level > 3 && flags === 1
  if (sessionPresent && code !== 0) return undefined // [MQTT-3.2.2-4; MQTT 5: MQTT-3.2.2-6]
  if (level < 5) return code > LAST_RETURN_CODE ? undefined : { sessionPresent, code, properties: [] }
  if (!REASONS_IN.connack.has(code)) return undefined // [MQTT-3.2.2-8]
  const read = readProperties(bytes, body + 2, end, 'connack')
  if (read?.next !== end) return undefined
  return { sessionPresent, code, properties: read.list }
}

const connack = (
  level: Level,
  sessionPresent: boolean,
  code: number,
  properties: readonly Property[],
): Buffer =>
  packet(
    TYPE.connack << 4,
    Uint8Array.of(level > 3 && sessionPresent ? 1 : 0, code),
    ...(level === 5 ? [writeProperties(properties)] : []),
  )

/** By the door itself. @param code of the version that the client speaks. @param o.reasonString, o.serverReference MQTT 5 */
export const makeConnack = (
  level: Level,
  code: number,
  o: {
    readonly sessionPresent?: boolean
    readonly reasonString?: string
    readonly serverReference?: string
  } = {},
): Buffer =>
  connack(level, o.sessionPresent === true, code, [
    ...said('reasonString', o.reasonString),
    ...said('serverReference', o.serverReference),
  ])

/** What is the door's to say, and what the client must not hear: names and ways of the broker's own. */
const NOT_PASSED_ON: ReadonlySet<PropertyName> = new Set<PropertyName>([
  'assignedClientIdentifier',
  'topicAliasMaximum',
  'receiveMaximum',
  'maximumPacketSize',
  'serverReference',
  'responseInformation',
  'authenticationMethod',
  'authenticationData',
])

/** What the door says in MQTT 5. */
export type DoorLimits = {
  /** undefined: the client said its own */
  readonly assignedClientId?: string | undefined
  /** seconds; undefined: what the broker says, if anything */
  readonly serverKeepAlive?: number | undefined
  /** seconds; undefined: what the broker says, if anything */
  readonly sessionExpiry?: number | undefined
  /** aliases end at the door, so the broker's is not looked at */
  readonly topicAliasMaximum: number
  /** of the door; the broker's, when lower */
  readonly receiveMaximum: number
  readonly maximumPacketSize: number
}

const lower = (theirs: number | undefined, ours: number): number => Math.min(theirs ?? ours, ours)

/** The broker's CONNACK as the client gets it. Before MQTT 5 there is nothing to adjust but the byte that 3.1 does not know. */
export const adjustConnack = (
  { sessionPresent, code, properties }: Connack,
  level: Level,
  o: DoorLimits,
): Buffer => {
  const replaced: ReadonlySet<PropertyName> = new Set<PropertyName>([
    ...(o.serverKeepAlive === undefined ? [] : (['serverKeepAlive'] as const)),
    ...(o.sessionExpiry === undefined ? [] : (['sessionExpiryInterval'] as const)),
  ])
  const theirs = properties.filter(
    (property) => !NOT_PASSED_ON.has(property.name) && !replaced.has(property.name) && isTheirs(property),
  )
  return connack(level, sessionPresent, code, [
    ...theirs,
    ...said('assignedClientIdentifier', o.assignedClientId),
    ...said('serverKeepAlive', o.serverKeepAlive),
    ...said('sessionExpiryInterval', o.sessionExpiry),
    ...said('topicAliasMaximum', o.topicAliasMaximum === 0 ? undefined : o.topicAliasMaximum),
    ...said('receiveMaximum', lower(numberOf(properties, 'receiveMaximum'), o.receiveMaximum)),
    ...said('maximumPacketSize', lower(numberOf(properties, 'maximumPacketSize'), o.maximumPacketSize)),
  ])
}
