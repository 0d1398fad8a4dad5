/**
 * Every packet from the broker, on its way down: deliveries judged, answers made whole. A delivery to a topic that is not allowed is dropped, and
 * acknowledged to the broker here, so that its window never fills with messages nobody may have. When it is not the topic that is
 * refused, the connection ends and nothing is acknowledged: what the broker keeps, waits.
 */

import { stripShare } from '#wire/topics.ts'
import { makeAck, readAck, readDisconnect } from './ack-packets.ts'
import { readConnack, type Connack } from './connack-packet.ts'
import type { Exchange } from './exchange.ts'
import type { Decide, Refusal, Step } from './frames.ts'
import { TYPE } from './packets.ts'
import { numberOf } from './properties.ts'
import { readPublish } from './publish-packet.ts'
import { makeSuback, makeUnsuback, makeUnsubscribe, readSuback, readUnsuback } from './subscribe-packets.ts'
import { giveBack, MAX_FILTERS, mergeCodes } from './subscribing.ts'
import type { Tally } from './tally.ts'
import { loggedTopic, type TopicVerdict, type Verdicts } from './verdicts.ts'

export type Below = {
  readonly exchange: Exchange
  readonly verdicts: Verdicts
  readonly tally: Tally
  /** to the broker, from the door itself */
  ask(bytes: Buffer): void
  /** The broker's CONNACK, once. @returns what the client gets, when it has been accepted; else why the connection ends */
  connack(connack: Connack): Buffer | Refusal
  /** What the client has sent behind a `hold` may go on, when the packets at hand have gone down. */
  goOn(): void
  /** one line about this connection */
  note(message: string, more: Record<string, unknown>): void
}

type State = {
  /** packet ids of dropped QoS 2 deliveries, until their PUBREL */
  swallowed: Set<number> | undefined
  open: boolean
  /** what the broker said before its CONNACK */
  early: Buffer[]
  earlyBytes: number
  /** {@link Verdicts.generation} by which all subscriptions have been looked at */
  sweptAt: number
}

const broken = (detail: string): Refusal => ({ reason: 'target_unreachable', detail })

/** Verdicts that will be the same tomorrow, whatever becomes of the client, the registry and the rest of the policy. */
const ABOUT_THE_TOPIC: ReadonlySet<TopicVerdict> = new Set(['topic_denied', 'bad_request'])

/** Bytes that the broker may say before its CONNACK. */
const EARLY_LIMIT = 1024 * 1024

/** Subscriptions that are looked at when a policy has changed. */
const SWEPT = 1_000

/** One that nothing of the client's has. Clients count from below. */
const freeId = ({ flows, questions }: Exchange): number => {
  let id = 0xffff
  while (id > 1 && (!flows.isFree(id) || questions.has(id) || questions.isOwn(id))) id--
  return id
}

/** Subscriptions that are no longer allowed are ended at the broker as well, or it would go on queueing for them. Once for each change. */
const sweep = (below: Below, state: State): void => {
  const { exchange, verdicts } = below
  if (state.sweptAt === verdicts.generation) return
  state.sweptAt = verdicts.generation
  const { level, subscriptions, questions } = exchange
  const over = [...subscriptions.some(SWEPT)].filter(
    (filter) => !verdicts.mayKeep(stripShare(filter) ?? filter),
  )
  for (const filter of over) subscriptions.delete(filter)
  for (let at = 0; at < over.length; at += MAX_FILTERS) {
    const id = freeId(exchange)
    questions.unsubscribeOwn(id)
    below.ask(makeUnsubscribe(level, { id, filters: over.slice(at, at + MAX_FILTERS) }))
  }
}

const drop = (
  below: Below,
  state: State,
  verdict: TopicVerdict,
  qos: number,
  id: number,
  dup: boolean,
): Step => {
  const { level } = below.exchange
  if (verdict !== 'allowed') below.tally.denied('receive', verdict)
  if (qos > 0 && !ABOUT_THE_TOPIC.has(verdict))
    return {
      reason: verdict as Refusal['reason'],
      detail: 'a delivery could not be judged or may not be made',
      recorded: true,
    }
  below.tally.dropped('denied')
  if (qos > 0) below.ask(makeAck(level, qos === 1 ? TYPE.puback : TYPE.pubrec, id))
  // one that is sent again may have reached the client on another connection: its PUBREL goes there, or the client would hold on to the id
  if (qos === 2 && !dup) (state.swallowed ??= new Set()).add(id)
  if (verdict === 'topic_denied') sweep(below, state)
  return 'skip'
}

const onPublish: Judge = (below, state, bytes, start, body, end) => {
  const head = readPublish(bytes, start, body, end, below.exchange.level, 'broker')
  if (typeof head === 'string') return broken(`the broker sent a PUBLISH: ${head}`)
  const { qos, id, dup, topicFrom, topicUntil } = head
  // it was told that it may use none
  if (head.alias !== 0) return broken('the broker sent a topic alias')
  const verdict = below.verdicts.topic('receive', bytes, topicFrom, topicUntil)
  if (verdict !== 'allowed') return drop(below, state, verdict, qos, id, dup)
  // the id of a message that was dropped, and whose PUBREL has not come: the same message
  if (qos === 2 && state.swallowed?.has(id) === true) {
    below.ask(makeAck(below.exchange.level, TYPE.pubrec, id))
    return 'skip'
  }
  if (below.tally.sampled())
    below.note('allowed', {
      act: 'receive',
      topic: loggedTopic(bytes.toString('utf8', topicFrom, topicUntil)),
      one_in: below.exchange.limits.log_every,
    })
  return 'forward'
}

const onPubrel: Judge = (below, { swallowed }, bytes, _start, body, end) => {
  const { level } = below.exchange
  const ack = readAck(bytes, body, end, level, TYPE.pubrel)
  if (ack === undefined) return broken('the broker sent a malformed PUBREL')
  if (swallowed?.delete(ack.id) !== true) return 'forward'
  below.ask(makeAck(level, TYPE.pubcomp, ack.id))
  return 'skip'
}

const onAck: Judge = (below, _state, bytes, start, body, end) => {
  const { exchange } = below
  const type = (bytes[start] as number) >> 4
  const ack = readAck(bytes, body, end, exchange.level, type)
  if (ack === undefined) return broken('the broker sent a malformed acknowledgement')
  if (type === TYPE.pubcomp && exchange.flows.forgotten(ack.id)) return 'skip'
  exchange.flows.answered(type, ack.id, ack.code)
  exchange.oneMessage?.acknowledged(type, ack.id, ack.code)
  if (exchange.waitsFor === 'window' && !exchange.flows.crowded) {
    exchange.waitsFor = undefined
    below.goOn()
  }
  return 'forward'
}

const onSuback: Judge = (below, _state, bytes, _start, body, end) => {
  const { level, questions, subscriptions } = below.exchange
  const suback = readSuback(bytes, body, end, level)
  if (suback === undefined) return broken('the broker sent a malformed SUBACK')
  const { id, codes, properties } = suback
  const plan = questions.subscribed(id)
  if (plan === undefined) return 'forward'
  giveBack(plan, codes, subscriptions)
  return plan.whole ? 'forward' : makeSuback(level, id, mergeCodes(plan, codes), properties)
}

const onUnsuback: Judge = (below, _state, bytes, _start, body, end) => {
  const { level, questions } = below.exchange
  const unsuback = readUnsuback(bytes, body, end, level)
  if (unsuback === undefined) return broken('the broker sent a malformed UNSUBACK')
  const { id, codes, properties } = unsuback
  const parting = questions.unsubscribed(id)
  if (parting === 'own') return 'skip'
  if (parting !== undefined) return makeUnsuback(level, id, mergeCodes(parting, codes), properties)
  if (questions.held === id) {
    questions.held = 0
    below.goOn()
  }
  return 'forward'
}

const onPingresp: Judge = ({ exchange }, _state, _bytes, _start, body, end) => {
  if (end !== body) return broken('the broker sent a PINGRESP that is not empty')
  if (exchange.pings === 0) return 'forward'
  // which of several was asked by whom makes no difference
  exchange.pings--
  return 'skip'
}

/** MQTT 5: the broker says why it leaves. The client is told the code, and nothing else of what it says. */
const onDisconnect: Judge = ({ exchange: { level } }, _state, bytes, _start, body, end) => {
  const leave = readDisconnect(bytes, body, end, level, 'broker')
  if (leave === undefined) return broken('the broker sent a malformed DISCONNECT')
  const code = leave.code.toString(16).padStart(2, '0')
  return { ...broken(`the broker ends the connection (0x${code})`), code: leave.code }
}

const onConnack: Judge = (below, state, bytes, _start, body, end) => {
  const { exchange } = below
  const connack = state.open ? undefined : readConnack(bytes, body, end, exchange.level)
  if (connack === undefined) return broken('the broker sent a CONNACK that is not one')
  const { properties } = connack
  if (exchange.level === 5) {
    exchange.sharedSubscriptions = numberOf(properties, 'sharedSubscriptionAvailable') !== 0
    exchange.maximumPacketSize = numberOf(properties, 'maximumPacketSize') ?? Infinity
    exchange.flows.limit = Math.min(exchange.flows.limit, numberOf(properties, 'receiveMaximum') ?? Infinity)
  }
  const told = below.connack(connack)
  if ('reason' in told) return told
  state.open = true
  const { early } = state
  state.early = []
  return early.length === 0 ? told : Buffer.concat([told, ...early])
}

/** Nothing goes down before the CONNACK [MQTT-3.2.0-1], whatever the broker does. */
const onEarly = (state: State, packet: Buffer): Step => {
  state.early.push(Buffer.from(packet))
  state.earlyBytes += packet.length
  return state.earlyBytes > EARLY_LIMIT ? broken('the broker says too much before its CONNACK') : 'skip'
}

type Judge = (below: Below, state: State, bytes: Buffer, start: number, body: number, end: number) => Step

const judgesByType: Readonly<Record<number, Judge>> = {
  [TYPE.connack]: onConnack,
  [TYPE.publish]: onPublish,
  [TYPE.puback]: onAck,
  [TYPE.pubrec]: onAck,
  [TYPE.pubrel]: onPubrel,
  [TYPE.pubcomp]: onAck,
  [TYPE.suback]: onSuback,
  [TYPE.unsuback]: onUnsuback,
  [TYPE.pingresp]: onPingresp,
  [TYPE.disconnect]: onDisconnect,
}

/** AUTH too: no authentication method goes up [MQTT-4.12.0-6]. */
const notFromBrokers: Judge = () => broken('a packet that no broker sends')

const JUDGES = Array.from({ length: 16 }, (_, type) => judgesByType[type] ?? notFromBrokers)

export const judgeDownward = (below: Below): Decide => {
  const { down } = below.tally
  const state: State = { swallowed: undefined, open: false, early: [], earlyBytes: 0, sweptAt: -1 }
  return (bytes, start, body, end) => {
    const type = (bytes[start] as number) >> 4
    down.packets[type] = (down.packets[type] as number) + 1
    down.bytes += end - start
    const step = (JUDGES[type] as Judge)(below, state, bytes, start, body, end)
    return state.open || step !== 'forward' ? step : onEarly(state, bytes.subarray(start, end))
  }
}
