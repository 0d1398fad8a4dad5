/**
 * CONNECT as the broker gets it, and its answer: what it means for the connection, and what the client hears of it. Not what the door says of itself:
 * ./greeting.ts.
 */

import { CONNACK, REASON } from '#wire/mqtt-codes.ts'
import type { Connect } from './connect-packet.ts'
import { adjustConnack, type Connack } from './connack-packet.ts'
import type { Decide, Refusal } from './frames.ts'
import { TYPE, type Level } from './packets.ts'
import { numberOf } from './properties.ts'

/** Bytes that a delivery may have beyond what a client may send: a packet id, and in MQTT 5 what a broker adds. */
const ROOM: Readonly<Record<Level, number>> = { 3: 16, 4: 16, 5: 1024 }

/** @param frameLimit bytes of the largest packet that a client may send. @returns of the largest that a broker may */
export const largestFromBroker = (level: Level, frameLimit: number): number => frameLimit + ROOM[level]

/**
 * CONNECT as the broker gets it, but for the names: for one message nothing is kept, and its will, which would be another one, is void; nothing is
 * delivered that would be too large for the door.
 * @param largest bytes
 */
export const askedOf = (connect: Connect, oneMessage: boolean, largest: number): Connect => {
  const { v5 } = connect
  const clean = connect.clean || oneMessage
  const will = oneMessage ? undefined : connect.will
  if (v5 === undefined) return { ...connect, clean, will }
  const sessionExpiry = oneMessage ? 0 : v5.sessionExpiry
  const maximumPacketSize = Math.min(v5.maximumPacketSize ?? Infinity, largest)
  return { ...connect, clean, will, v5: { ...v5, sessionExpiry, maximumPacketSize } }
}

export type Welcome =
  | {
      /** for the client */
      readonly connack: Buffer
      /** its session outlives the connection */
      readonly stays: boolean
      /** seconds, the shorter one of the door's and the broker's; 0: none */
      readonly keepalive: number
    }
  | Refusal

const VERSION_REFUSED: Readonly<Record<Level, number>> = {
  3: CONNACK.unacceptableProtocol,
  4: CONNACK.unacceptableProtocol,
  5: REASON.unsupportedProtocolVersion,
}

/** Does this CONNACK say that the broker does not speak the version? One that has never heard of MQTT 5 says so in the form of 3.1.1. */
export const isVersionRefusal = (level: Level, bytes: Buffer, body: number, end: number): boolean =>
  (end - body === 2 && bytes[body + 1] === CONNACK.unacceptableProtocol) ||
  (level === 5 && end - body > 2 && bytes[body + 1] === VERSION_REFUSED[5])

/**
 * The judge of what a broker says until its CONNACK: one that refuses the version may do so in words that `judge` does not know.
 * @param answered the CONNACK is here; `judge` alone from then on
 */
export const judgeFirst =
  (level: Level, judge: Decide, answered: () => void): Decide =>
  (bytes, start, body, end) => {
    if ((bytes[start] as number) >> 4 !== TYPE.connack) return judge(bytes, start, body, end)
    answered()
    return isVersionRefusal(level, bytes, body, end)
      ? { reason: 'unsupported', detail: 'the broker does not speak this version' }
      : judge(bytes, start, body, end)
  }

/** Keep-alives in seconds, 0: none. */
export const shorter = (one: number, other: number): number =>
  one === 0 || other === 0 ? one || other : Math.min(one, other)

/**
 * @param o.connect as the client sent it. @param o.asked as the broker got it
 * @param o.keepalive seconds, as the broker was told
 * @param o.assigned the ClientID, when the client left it to the door
 */
export const welcome = (
  connack: Connack,
  o: {
    readonly connect: Connect
    readonly asked: Connect
    readonly keepalive: number
    readonly assigned: string | undefined
    readonly limits: {
      readonly topic_alias_maximum: number
      readonly receive_maximum: number
      readonly frame_limit: number
    }
  },
): Welcome => {
  const { connect, asked, limits } = o
  const { level } = connect
  const { code } = connack
  if (code !== 0)
    return {
      reason: code === VERSION_REFUSED[level] ? 'unsupported' : 'target_unreachable',
      detail: `the broker refuses the client (CONNACK ${code})`,
    }
  const said = (name: Parameters<typeof numberOf>[1]): number | undefined =>
    numberOf(connack.properties, name)
  const theirs = said('serverKeepAlive')
  const keepalive = shorter(o.keepalive, theirs ?? 0)
  const expiry = said('sessionExpiryInterval') ?? asked.v5?.sessionExpiry ?? 0
  return {
    connack: adjustConnack(connack, level, {
      assignedClientId: o.assigned,
      serverKeepAlive: keepalive === connect.keepalive && theirs === undefined ? undefined : keepalive,
      sessionExpiry: expiry === connect.v5?.sessionExpiry ? undefined : expiry,
      topicAliasMaximum: limits.topic_alias_maximum,
      receiveMaximum: limits.receive_maximum,
      maximumPacketSize: limits.frame_limit,
    }),
    stays: level === 5 ? expiry > 0 : !asked.clean,
    keepalive,
  }
}
