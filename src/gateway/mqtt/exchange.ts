/**
 * What both directions of one connection know of each other: messages and questions under way, subscriptions asked for, and by which limits.
 * One for each connection; what an idle one does not need is not there. Not what becomes of a packet: ./upward.ts and ./downward.ts.
 */

import type { Settings } from '#runtime/settings.ts'
import { createOneMessage, type OneMessage } from './one-message.ts'
import type { Level } from './packets.ts'
import { Questions, Subscriptions } from './subscribing.ts'
import { Flows } from './windows.ts'

/** The settings of `mqtt.*` that packets are judged by. */
export type PacketLimits = Pick<
  Settings['mqtt'],
  | 'receive_maximum'
  | 'topic_alias_maximum'
  | 'subscriptions'
  | 'packets_per_second'
  | 'bytes_per_second'
  | 'denied_per_minute'
  | 'log_every'
>

export type Exchange = {
  readonly level: Level
  readonly limits: PacketLimits
  /** undefined: a connection may carry any number of messages */
  readonly oneMessage: OneMessage | undefined
  readonly flows: Flows
  readonly subscriptions: Subscriptions
  readonly questions: Questions
  /** seconds that the broker has been told, 0: none. Whoever tells it another sets it. */
  keepalive: number
  /** Does the broker know `$share/<group>/`? In MQTT 5 its CONNACK says. */
  sharedSubscriptions: boolean
  /** bytes that a packet to the broker may have, as its CONNACK says */
  maximumPacketSize: number
  /** What the client's next packet waits for, beside {@link Questions.held}; the framer has been told to hold. */
  waitsFor: 'window' | undefined
  /** PINGREQs of the door's own that the broker has not answered */
  pings: number
}

/** @param o.keepalive seconds, as the broker is told in CONNECT */
export const createExchange = (o: {
  readonly level: Level
  readonly limits: PacketLimits
  readonly sharedSubscriptions: boolean
  readonly handshakePer: 'connection' | 'message'
  readonly keepalive: number
}): Exchange => ({
  level: o.level,
  limits: o.limits,
  oneMessage: o.handshakePer === 'message' ? createOneMessage() : undefined,
  flows: new Flows(o.limits.receive_maximum),
  subscriptions: new Subscriptions(o.limits.subscriptions),
  questions: new Questions(),
  keepalive: o.keepalive,
  sharedSubscriptions: o.sharedSubscriptions,
  maximumPacketSize: Infinity,
  waitsFor: undefined,
  pings: 0,
})
