/** PUBACK, PUBREC, PUBREL, PUBCOMP and DISCONNECT: short packets, which MQTT 5 lets be shorter still when there is nothing to say. */

import { REASONS_IN } from '#wire/mqtt-codes.ts'
import { DISCONNECT, packet, readId, TYPE, type Level, type Side } from './packets.ts'
import { ignore, numberOf, readProperties, said, walkProperties, writeProperties } from './properties.ts'

type AckName = 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'
/** The name of each, by type; undefined: it is none of them. */
export const ACKS: readonly (AckName | undefined)[] = Array.from({ length: 16 }, (_, type) =>
  (['puback', 'pubrec', 'pubrel', 'pubcomp'] as const).find((name) => TYPE[name] === type),
)

/** There is one of these, which every {@link readAck} fills anew. `code`: 0 before MQTT 5 */
export type Ack = { readonly id: number; readonly code: number }
const ack = { id: 0, code: 0 }

/**
 * @param type PUBACK, PUBREC, PUBREL or PUBCOMP
 * @returns the same object each time; undefined when malformed
 */
export const readAck = (
  bytes: Buffer,
  body: number,
  end: number,
  level: Level,
  type: number,
): Ack | undefined => {
  const where = ACKS[type]
  ack.id = readId(bytes, body, end)
  ack.code = 0
  if (where === undefined || ack.id === 0) return undefined
  // success goes without saying (§3.4.2.1)
  if (end === body + 2) return ack
  if (level < 5) return undefined
  ack.code = bytes[body + 2] as number
  if (!REASONS_IN[where].has(ack.code)) return undefined // [MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1]
  // shorter than 4: no property length either (§3.4.2.2.1)
  if (end === body + 3) return ack
  return walkProperties(bytes, body + 3, end, where, ignore) === end ? ack : undefined
}

/** @param type PUBACK, PUBREC, PUBREL or PUBCOMP. @param code said in MQTT 5 only */
export const makeAck = (level: Level, type: number, id: number, code = 0): Buffer => {
  const first = (type << 4) | (type === TYPE.pubrel ? 2 : 0)
  return level < 5 || code === 0
    ? Buffer.from([first, 2, id >> 8, id & 0xff])
    : Buffer.from([first, 3, id >> 8, id & 0xff, code])
}

export type Leave = {
  /** 0 before MQTT 5. From a client any but 0 has its will published [MQTT-3.14.4-3]; 0x04 says only that. */
  readonly code: number
  /** seconds, from a client; not 0 when it said 0 in CONNECT is a protocol error, which is the caller's to see (§3.14.2.2.2) */
  readonly sessionExpiry?: number
}

/** @returns undefined when malformed; before MQTT 5 it is empty, and only a client sends it */
export const readDisconnect = (
  bytes: Buffer,
  body: number,
  end: number,
  level: Level,
  side: Side,
): Leave | undefined => {
  // §3.14.2.1
  if (body === end) return { code: 0 }
  if (level < 5) return undefined
  const where = side === 'client' ? 'disconnect' : 'dismissal'
  const code = bytes[body] as number
  if (!REASONS_IN[where].has(code)) return undefined // [MQTT-3.14.2-1]
  // shorter than 2: no property length either (§3.14.2.2.1)
  if (end === body + 1) return { code }
  const read = readProperties(bytes, body + 1, end, where)
  if (read?.next !== end) return undefined
  const sessionExpiry = numberOf(read.list, 'sessionExpiryInterval')
  return sessionExpiry === undefined ? { code } : { code, sessionExpiry }
}

/** Before MQTT 5 all of them are {@link DISCONNECT}. @param o from a server */
export const makeDisconnect = (
  level: Level,
  code: number,
  o: { readonly serverReference?: string | undefined; readonly reasonString?: string | undefined } = {},
): Buffer => {
  if (level < 5) return DISCONNECT
  const properties = [...said('serverReference', o.serverReference), ...said('reasonString', o.reasonString)]
  if (properties.length > 0)
    return packet(TYPE.disconnect << 4, Uint8Array.of(code), writeProperties(properties))
  return code === 0 ? DISCONNECT : packet(TYPE.disconnect << 4, Uint8Array.of(code))
}
