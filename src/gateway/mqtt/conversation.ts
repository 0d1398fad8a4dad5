/**
 * An admitted client and the broker behind: CONNECT and its answer, bytes both ways, and what the judges of both directions need. Not who it is
 * and what stays of it: ./session.ts. Not the client's bytes: ./reading.ts.
 */

import type { DenyPublish } from '#fleet/access.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { REASON } from '#wire/mqtt-codes.ts'
import type { Above } from './above.ts'
import type { Leave } from './ack-packets.ts'
import { BrokerSide, type BrokerEvents, type Parting } from './broker-side.ts'
import { HOLD, type ClientSide } from './client-side.ts'
import { makeConnect, type Connect } from './connect-packet.ts'
import type { Connack } from './connack-packet.ts'
import type { DoorParts } from './door-parts.ts'
import { judgeDownward, type Below } from './downward.ts'
import { createExchange, type Exchange } from './exchange.ts'
import { createFramer, type Decide, type Framer, type Refusal } from './frames.ts'
import type { Admitted, MqttSettings } from './greeting.ts'
import type { LocalTopics } from './local-topics.ts'
import { opensFromBroker } from './packets.ts'
import type { Tally } from './tally.ts'
import type { Share } from './turns.ts'
import { judgeUpward } from './upward.ts'
import type { Verdicts } from './verdicts.ts'
import { askedOf, judgeFirst, largestFromBroker, shorter, welcome } from './welcome.ts'
import { topicsOf, type WillTopics } from './will.ts'

/** The connection, as far as the broker's end moves it. */
export type Speaker = {
  readonly client: ClientSide
  readonly over: boolean
  note(message: string, more?: Record<string, unknown>): void
  fail(refusal: Refusal): void
  /** The broker has accepted it, and its CONNACK goes down before anything else. */
  accepted(): void
  /** Everything that came with that CONNACK has gone down too. @param keepalive seconds, 0: none */
  opened(keepalive: number): void
  /** the broker says that another connection has come for the ClientID, which is not one of this process */
  takenElsewhere(): void
  /** what the client has sent behind a packet that had to be dealt with may go on */
  goOn(): void
  /** nothing more before so many ms */
  wait(ms: number): void
  /** the client has said DISCONNECT, and it goes on to the broker */
  goodbye(): void
  /** the one message has been dealt with */
  finished(): void
  /** The broker has finished with this client; the last that comes. */
  brokerLeft(): void
  /** something here has thrown */
  broke(error: unknown): void
}

/** What a broker does wrong is not the client's fault. */
const ofBroker = (refusal: Refusal): Refusal =>
  refusal.recorded === true || ['unsupported', 'target_unreachable'].includes(refusal.reason)
    ? refusal
    : { reason: 'target_unreachable', detail: refusal.detail }

/** It is what the judges of both directions stand on itself: an object for each of them, and a closure for each of its methods, would be kept by every idle connection. */
export class Conversation implements BrokerEvents, Above, Below {
  /** Does what the broker keeps outlive the connection? undefined: it has not accepted it. */
  stays: boolean | undefined
  /** it wants, or has been given, a session that begins anew */
  readonly clean: boolean
  readonly will: WillTopics | undefined
  readonly #door: DoorParts
  readonly #peer: Peer
  readonly #speaker: Speaker
  readonly verdicts: Verdicts
  readonly exchange: Exchange
  readonly #settings: () => MqttSettings
  /** until the broker has answered */
  #greeting: Admitted | undefined
  #asked: Connect | undefined
  readonly sessionExpiry: number
  #share: Share | undefined
  readonly #isDevice: boolean
  #local: LocalTopics | undefined
  #broker: BrokerSide | undefined
  #down: Framer | undefined
  /** what waits until the packets at hand from the broker have gone down */
  #afterwards: (() => void) | undefined

  /** @param settings of its application, as they are now */
  constructor(
    door: DoorParts,
    peer: Peer,
    greeting: Admitted,
    verdicts: Verdicts,
    speaker: Speaker,
    settings: () => MqttSettings,
  ) {
    const { mqtt, upstream } = door
    const { connect, identity } = greeting
    const { level, v5 } = connect
    this.#door = door
    this.#peer = peer
    this.#speaker = speaker
    this.verdicts = verdicts
    this.#settings = settings
    this.exchange = createExchange({
      level,
      limits: mqtt,
      sharedSubscriptions: upstream.sharedSubscriptions,
      handshakePer: settings().handshakePer ?? mqtt.handshake_per,
      keepalive: shorter(connect.keepalive, Math.floor((mqtt.max_keepalive ?? 0) / SECOND)),
    })
    this.#greeting = greeting
    this.#asked = askedOf(
      connect,
      this.exchange.oneMessage !== undefined,
      largestFromBroker(level, mqtt.frame_limit),
    )
    this.sessionExpiry = v5?.sessionExpiry ?? 0
    this.#isDevice = identity.kind === 'device'
    this.clean = this.#asked.clean
    const will = this.#asked.will
    this.will = will && topicsOf(will)
  }

  /** the one message has been dealt with */
  get done(): boolean {
    return this.exchange.oneMessage?.over === true
  }

  /** the broker has not finished with the client yet */
  get there(): boolean {
    return this.#broker?.there === true
  }

  /** bytes; the largest packet that the client may send */
  get frameLimit(): number {
    return Math.min(this.#door.mqtt.frame_limit, this.exchange.maximumPacketSize)
  }

  // ---- to the broker

  /** The ClientID is ours. */
  open(): void {
    const { upstream, mqtt } = this.#door
    const { clientId, name: identity, connect } = this.#greeting as Admitted
    const { level } = connect
    const judge = judgeDownward(this)
    this.#down = createFramer({
      limit: largestFromBroker(level, mqtt.frame_limit),
      opens: opensFromBroker[level],
      decide: judgeFirst(level, judge, () => {
        if (this.#down !== undefined) this.#down.decide = judge
      }),
      out: (bytes) => {
        if (!this.#speaker.client.write(bytes)) this.#broker?.pause()
      },
    })
    const { connections } = this.#settings()
    const about = { clientId, identity, level, address: this.#peer.address, connections }
    this.#broker = new BrokerSide(upstream, about, this)
    const { username, password } = upstream.login(identity)
    const { keepalive } = this.exchange
    this.toBroker(makeConnect(this.#asked as Connect, { clientId, username, password, keepalive, identity }))
  }

  toBroker(bytes: Uint8Array): void {
    if (this.#broker?.write(bytes) === false) this.#speaker.client.hold(HOLD.broker)
  }

  /** the client has read what was written */
  resume(): void {
    this.#broker?.resume()
  }

  /** @param said has the client said DISCONNECT? */
  part(parting: Parting, said: boolean): void {
    this.#broker?.part(parting, said)
  }

  close(): void {
    this.#local?.close()
    this.verdicts.close()
  }

  // ---- from the broker

  fromBroker(bytes: Buffer): void {
    const speaker = this.#speaker
    if (speaker.over) return
    const refusal = this.#down?.push(bytes)
    if (refusal !== undefined) return this.#onRefusal(refusal)
    const next = this.#afterwards
    this.#afterwards = undefined
    next?.()
    if (this.done) speaker.finished()
  }

  #onRefusal(refusal: Refusal): void {
    const speaker = this.#speaker
    if (refusal.code === REASON.sessionTakenOver && this.stays !== undefined) speaker.takenElsewhere()
    else speaker.fail(ofBroker(refusal))
  }

  brokerDrained(): void {
    this.#speaker.client.release(HOLD.broker)
  }

  brokerClosed(): void {
    this.#speaker.brokerLeft()
  }

  broke(error: unknown): void {
    this.#speaker.broke(error)
  }

  connack(connack: Connack): Buffer | Refusal {
    const { connect, assigned, clientId } = this.#greeting as Admitted
    const welcomed = welcome(connack, {
      connect,
      asked: this.#asked as Connect,
      keepalive: this.exchange.keepalive,
      assigned: assigned ? clientId : undefined,
      limits: this.#door.mqtt,
    })
    if ('reason' in welcomed) return welcomed
    this.#greeting = this.#asked = undefined
    this.stays = welcomed.stays
    this.exchange.keepalive = welcomed.keepalive
    this.#speaker.accepted()
    this.#afterwards = () => this.#speaker.opened(welcomed.keepalive)
    return welcomed.connack
  }

  // ---- verdicts

  get tally(): Tally {
    return this.#door.tally
  }

  get clock(): Clock {
    return this.#door.clock
  }

  /** the framer's, from the CONNACK on */
  get share(): Share {
    return this.#share as Share
  }

  get denyPublish(): DenyPublish {
    return this.#settings().denyPublish
  }

  /** Of devices; made when one asks. */
  get local(): LocalTopics | undefined {
    if (!this.#isDevice) return undefined
    return (this.#local ??= this.#door.openLocal?.({
      peer: this.#peer,
      level: this.exchange.level,
      answer: (bytes) => this.answer(bytes),
      broke: (error) => this.broke(error),
    }))
  }

  /** From the CONNACK on. @param share the framer's */
  judgeUp(share: Share): Decide {
    this.#share = share
    return judgeUpward(this)
  }

  answer(bytes: Buffer): void {
    if (!this.#speaker.over && !this.#speaker.client.answer(bytes)) this.#broker?.pause()
  }

  ask(bytes: Buffer): void {
    this.toBroker(bytes)
  }

  wait(ms: number): void {
    this.#speaker.wait(ms)
  }

  goodbye({ sessionExpiry }: Leave): void {
    if (sessionExpiry !== undefined) this.stays = sessionExpiry > 0
    this.#speaker.goodbye()
  }

  goOn(): void {
    this.#afterwards = () => this.#speaker.goOn()
  }

  note(message: string, more: Record<string, unknown>): void {
    this.#speaker.note(message, more)
  }
}
