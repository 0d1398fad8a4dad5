/**
 * What a client's packets are judged with, and what the judges of them share: ./upward.ts is their table, ./publishing.ts the largest of them. Nothing
 * is sent but through {@link Above}.
 */

import type { DenyPublish } from '#fleet/access.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Leave } from './ack-packets.ts'
import type { TopicAliases } from './aliases.ts'
import type { Denials } from './denials.ts'
import type { Exchange } from './exchange.ts'
import type { Step } from './frames.ts'
import type { LocalTopics } from './local-topics.ts'
import type { PacketRates } from './packet-rates.ts'
import { PINGREQ } from './packets.ts'
import type { Tally } from './tally.ts'
import type { Share } from './turns.ts'
import { loggedTopic, type Verdicts } from './verdicts.ts'
import type { WillTopics } from './will.ts'

export type Above = {
  readonly exchange: Exchange
  readonly verdicts: Verdicts
  readonly tally: Tally
  /** what a packet costs beyond the one that each of them does; the framer's own */
  readonly share: Share
  readonly clock: Clock
  /** of MQTT 3.1 and 3.1.1 */
  readonly denyPublish: DenyPublish
  /** the topics of the door itself, asked for when one is named; undefined: this client has none */
  readonly local: LocalTopics | undefined
  /** of the client's will; undefined: it has none */
  readonly will: WillTopics | undefined
  /** seconds, as CONNECT of MQTT 5 asked; 0: the session ends with the connection */
  readonly sessionExpiry: number
  /** to the client, from the door itself */
  answer(bytes: Buffer): void
  /** to the broker, from the door itself */
  ask(bytes: Buffer): void
  /** What follows this packet is not read before so many ms, whatever else it waits for. */
  wait(ms: number): void
  /** the client takes its leave in order; what the broker is to hear of it is handed on before anything else happens */
  goodbye(leave: Leave): void
  /** one line about this connection */
  note(message: string, more: Record<string, unknown>): void
}

/** Of one client; what it has not needed is not there. */
export type UpState = {
  rates: PacketRates | undefined
  aliases: TopicAliases | undefined
  denials: Denials | undefined
  /** ms: when the broker was last asked whether it is there */
  pingedAt: number
}

export type UpJudge = (
  above: Above,
  state: UpState,
  bytes: Buffer,
  start: number,
  body: number,
  end: number,
) => Step

export const noteAllowed = (above: Above, act: string, topic: string): void => {
  above.note('allowed', { act, topic: loggedTopic(topic), one_in: above.exchange.limits.log_every })
}

/**
 * The broker counts a client's silence too, and does not hear what ends here. It is asked for a sign of life in the client's name, at most twice in
 * a keep-alive, and only when something has ended here.
 */
export const stayAwake = (above: Above, state: UpState): void => {
  const { exchange, clock } = above
  if (exchange.keepalive === 0) return
  const now = clock()
  if (now - state.pingedAt < (exchange.keepalive * SECOND) / 2) return
  state.pingedAt = now
  exchange.pings++
  above.ask(PINGREQ)
}
