/**
 * Every packet from the broker, on its way down: deliveries judged, SUBACKs made whole. A delivery to a topic that is not allowed is dropped,
 * and acknowledged to the broker here, so that its window never fills with messages nobody may have. When it is not the topic that is
 * refused, the connection ends and nothing is acknowledged: what the broker keeps, waits.
 */

import { CONNACK } from '#wire/mqtt-codes.ts'
import type { Decide, Refusal, Step } from './frames.ts'
import type { OneMessage } from './one-message.ts'
import { makeAck, makeSuback, readId, TYPE, type Level } from './packets.ts'
import { mergeCodes, type Plan } from './subscribing.ts'
import type { TopicVerdict, Verdicts } from './verdicts.ts'

export type Below = {
  readonly verdicts: Verdicts
  readonly level: Level
  readonly plans: Map<number, Plan>
  readonly oneMessage: OneMessage | undefined
  /** to the broker, from the door itself */
  answer(bytes: Buffer): void
  /** the broker has accepted the client */
  opened(): void
  unsubscribed(): void
  /** a delivery was dropped */
  dropped(): void
}

const broken = (detail: string): Refusal => ({ reason: 'target_unreachable', detail })

type State = {
  /** packet ids of dropped QoS 2 deliveries, until their PUBREL */
  readonly swallowed: Set<number>
  open: boolean
  /** what the broker said before its CONNACK */
  early: Buffer[]
  earlyBytes: number
}

/** Verdicts that will be the same tomorrow, whatever becomes of the client, the registry and the rest of the policy. */
const ABOUT_THE_TOPIC: ReadonlySet<TopicVerdict> = new Set(['topic_denied', 'bad_request'])

/** Bytes that the broker may say before its CONNACK. */
const EARLY_LIMIT = 1024 * 1024

type Judge = (below: Below, state: State, bytes: Buffer, start: number, body: number, end: number) => Step

const onPublish: Judge = (below, { swallowed }, bytes, start, body, end) => {
  const until = body + 2 > end ? end + 1 : body + 2 + bytes.readUInt16BE(body)
  if (until > end) return broken('the broker sent a PUBLISH that does not fit')
  const verdict = below.verdicts.topic('receive', bytes, body + 2, until)
  if (verdict === 'allowed') return 'forward'
  const qos = ((bytes[start] as number) >> 1) & 3
  if (qos > 0 && !ABOUT_THE_TOPIC.has(verdict))
    return { reason: verdict, detail: 'a delivery could not be judged or may not be made', recorded: true }
  below.dropped()
  if (qos === 0) return 'skip'
  const id = readId(bytes, until, end)
  if (id === 0) return broken('the broker sent a PUBLISH without a packet id')
  if (qos === 2) swallowed.add(id)
  below.answer(makeAck(qos === 1 ? TYPE.puback : TYPE.pubrec, id))
  return 'skip'
}

const onPubrel: Judge = (below, { swallowed }, bytes, _start, body, end) => {
  const id = readId(bytes, body, end)
  if (!swallowed.delete(id)) return 'forward'
  below.answer(makeAck(TYPE.pubcomp, id))
  return 'skip'
}

const onAck: Judge = (below, _state, bytes, start, body, end) => {
  below.oneMessage?.acknowledged((bytes[start] as number) >> 4, readId(bytes, body, end))
  return 'forward'
}

const onSuback: Judge = (below, _state, bytes, _start, body, end) => {
  const id = readId(bytes, body, end)
  const plan = below.plans.get(id)
  if (plan === undefined) return 'forward'
  below.plans.delete(id)
  return makeSuback(id, mergeCodes(plan, bytes.subarray(body + 2, end)))
}

const onUnsuback: Judge = (below) => {
  below.unsubscribed()
  return 'forward'
}

const onConnack: Judge = (below, state, bytes, start, body, end) => {
  if (state.open || end - body !== 2) return broken('the broker sent a CONNACK that is not one')
  const code = bytes[body + 1] as number
  if (code !== CONNACK.accepted) return broken(`the broker refuses the client (CONNACK ${code})`)
  const connack = Buffer.from(bytes.subarray(start, end))
  // MQTT 3.1 §3.2: the byte is reserved, session present came with 3.1.1
  if (below.level === 3) connack[2] = 0
  state.open = true
  below.opened()
  return Buffer.concat([connack, ...state.early.splice(0)])
}

/** Nothing goes down before the CONNACK [MQTT-3.2.0-1], whatever the broker does. */
const onEarly = (state: State, packet: Buffer): Step => {
  state.early.push(Buffer.from(packet))
  state.earlyBytes += packet.length
  return state.earlyBytes > EARLY_LIMIT ? broken('the broker says too much before its CONNACK') : 'skip'
}

const JUDGES: Readonly<Record<number, Judge>> = {
  [TYPE.connack]: onConnack,
  [TYPE.publish]: onPublish,
  [TYPE.puback]: onAck,
  [TYPE.pubrec]: onAck,
  [TYPE.pubrel]: onPubrel,
  [TYPE.pubcomp]: onAck,
  [TYPE.suback]: onSuback,
  [TYPE.unsuback]: onUnsuback,
  [TYPE.pingresp]: () => 'forward',
}

/** @param seen counts packets by type */
export const judgeDownward = (below: Below, seen: Uint32Array): Decide => {
  const state: State = { swallowed: new Set(), open: false, early: [], earlyBytes: 0 }
  return (bytes, start, body, end) => {
    const type = (bytes[start] as number) >> 4
    seen[type] = (seen[type] as number) + 1
    const step =
      JUDGES[type]?.(below, state, bytes, start, body, end) ?? broken('a packet that no broker sends')
    return state.open || step !== 'forward' ? step : onEarly(state, bytes.subarray(start, end))
  }
}
