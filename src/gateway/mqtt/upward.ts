/**
 * Every packet from an admitted client, judged in place, in MQTT 3.1, 3.1.1 and 5: PUBLISH (./publishing.ts) and SUBSCRIBE by admission, the rest by its
 * form and the limits. A table by type. Not CONNECT.
 */

import { isTopicFilter } from '#wire/topics.ts'
import { noteAllowed, stayAwake, type Above, type UpJudge, type UpState } from './above.ts'
import { ACKS, makeAck, readAck, readDisconnect } from './ack-packets.ts'
import { isRefusal, malformed, protocolError, type Decide, type Refusal } from './frames.ts'
import { PacketRates } from './packet-rates.ts'
import { number16, packet, TYPE } from './packets.ts'
import { isTheirs, NO_PROPERTIES, readProperties, writeProperties } from './properties.ts'
import type { PropertyPlace } from './property-table.ts'
import { onPublish } from './publishing.ts'
import {
  makeSuback,
  makeSubscribe,
  makeUnsuback,
  makeUnsubscribe,
  readSubscribe,
  readUnsubscribe,
} from './subscribe-packets.ts'
import { MAX_FILTERS, mergeCodes, planSubscribe, planUnsubscribe } from './subscribing.ts'
import { judgeWill } from './will.ts'

const DUP = 0x08

/** Bytes of a packet, as a power of two, that cost as much as one more packet: to read them takes time too. */
const UNIT = 12

const tooMany = (detail: string): Refusal => ({ reason: 'quota_exceeded', detail })

/** MQTT 3.1 lets a client set DUP here; later versions made the bit reserved, and a broker of today may hold to that. */
const withoutDup = (bytes: Buffer, start: number): void => {
  bytes[start] = (bytes[start] as number) & ~DUP
}

/** A section of properties that has been read, without what only the door may say. @returns undefined: there is nothing of that kind */
const withoutOurs = (section: Buffer, where: PropertyPlace): Buffer | undefined => {
  if (section.length < 2) return undefined
  const list = readProperties(section, 0, section.length, where)?.list ?? []
  const theirs = list.filter(isTheirs)
  return theirs.length === list.length ? undefined : writeProperties(theirs)
}

const onAck: UpJudge = ({ exchange: { level } }, _state, bytes, start, body, end) => {
  const type = (bytes[start] as number) >> 4
  const where = ACKS[type]
  const ack = readAck(bytes, body, end, level, type)
  if (where === undefined || ack === undefined) return malformed('a malformed acknowledgement')
  withoutDup(bytes, start)
  if (end <= body + 4) return 'forward'
  const cleaned = withoutOurs(bytes.subarray(body + 3, end), where)
  return cleaned === undefined
    ? 'forward'
    : packet(bytes[start] as number, number16(ack.id), Uint8Array.of(ack.code), cleaned)
}

const onPubrel: UpJudge = (above, state, bytes, start, body, end) => {
  const { level, flows, oneMessage } = above.exchange
  const id = readAck(bytes, body, end, level, TYPE.pubrel)?.id ?? 0
  if (id === 0 || !flows.release(id)) return onAck(above, state, bytes, start, body, end)
  above.answer(makeAck(level, TYPE.pubcomp, id))
  oneMessage?.acknowledged(TYPE.pubcomp, id, 0)
  stayAwake(above, state)
  return 'skip'
}

const onSubscribe: UpJudge = (above, state, bytes, start, body, end) => {
  const { exchange, verdicts } = above
  const { level, questions } = exchange
  const list = readSubscribe(bytes, body, end, level)
  if (list === undefined) return malformed('SUBSCRIBE: malformed')
  if (list === 'too many') return tooMany('SUBSCRIBE: too many filters')
  const { id, filters } = list
  above.share.spend(filters.length)
  if (questions.has(id)) return protocolError('SUBSCRIBE: the packet id is in use')
  withoutDup(bytes, start)
  const plan = planSubscribe(filters, {
    level,
    shared: exchange.sharedSubscriptions,
    subscriptions: exchange.subscriptions,
    // nothing is delivered on a connection for one message
    verdict: (filter) => (exchange.oneMessage === undefined ? verdicts.filter(filter) : 'topic_denied'),
    grants: (filter) =>
      exchange.oneMessage === undefined &&
      verdicts.standing() === 'allowed' &&
      above.local?.grants(filter) === true,
    denied: (reason, filter, judged) => {
      above.tally.denied('subscribe', reason)
      if (!judged || exchange.oneMessage !== undefined) verdicts.refused('subscribe', filter, reason)
    },
  })
  if (plan.asked.length === 0) {
    above.answer(makeSuback(level, id, mergeCodes(plan, [])))
    stayAwake(above, state)
    return 'skip'
  }
  if (!questions.subscribe(id, plan)) return tooMany('too many filters that the broker has not answered')
  if (above.tally.sampled()) noteAllowed(above, 'subscribe', plan.asked[0]?.filter ?? '')
  const cleaned = withoutOurs(list.properties, 'subscribe')
  return plan.whole && cleaned === undefined
    ? 'forward'
    : makeSubscribe(level, { id, filters: plan.asked, properties: cleaned ?? list.properties })
}

const onUnsubscribe: UpJudge = (above, state, bytes, start, body, end) => {
  const { exchange } = above
  const { level, questions, subscriptions } = exchange
  const list = readUnsubscribe(bytes, body, end, level, MAX_FILTERS)
  if (list === undefined) return malformed('UNSUBSCRIBE: malformed')
  if (list === 'too many') return tooMany('UNSUBSCRIBE: too many filters')
  const { id, filters } = list
  if (!filters.every(isTopicFilter)) return malformed('UNSUBSCRIBE: not a filter')
  above.share.spend(filters.length)
  if (questions.has(id)) return protocolError('UNSUBSCRIBE: the packet id is in use')
  withoutDup(bytes, start)
  const parting = planUnsubscribe(filters, (filter) => above.local?.forget(filter) === true)
  for (const filter of parting.asked) subscriptions.delete(filter)
  if (parting.asked.length === 0) {
    above.answer(makeUnsuback(level, id, mergeCodes(parting, [])))
    stayAwake(above, state)
    return 'skip'
  }
  const cleaned = withoutOurs(list.properties, 'unsubscribe')
  if (parting.asked.length === filters.length && cleaned === undefined) {
    // aedes takes its time over it, and a SUBSCRIBE that overtakes it would be undone: wait for the UNSUBACK
    questions.held = id
    return 'forward-hold'
  }
  if (!questions.unsubscribe(id, parting)) return tooMany('too many filters that the broker has not answered')
  return makeUnsubscribe(level, { id, filters: parting.asked, properties: cleaned ?? list.properties })
}

const onPingreq: UpJudge = (_above, _state, _bytes, _start, body, end) =>
  end === body ? 'forward' : malformed('PINGREQ: not empty')

const onDisconnect: UpJudge = (above, _state, bytes, start, body, end) => {
  const { level } = above.exchange
  const leave = readDisconnect(bytes, body, end, level, 'client')
  if (leave === undefined) return malformed('DISCONNECT: malformed')
  // §3.14.2.2.2
  if (above.sessionExpiry === 0 && (leave.sessionExpiry ?? 0) > 0)
    return protocolError('DISCONNECT: a session that ends with the connection cannot be kept')
  above.goodbye(leave)
  // all codes but 0 want the will published, and it is judged when it would be
  const noWill = leave.code !== 0 && judgeWill(above.verdicts, above.will) !== 'allowed'
  const section = bytes.subarray(body + 1, end)
  const cleaned = withoutOurs(section, 'disconnect')
  if (!noWill && cleaned === undefined) return 'forward-hold'
  // nothing behind it is looked at
  above.share.exhaust()
  const properties = cleaned ?? (section.length === 0 ? NO_PROPERTIES : section)
  return packet(bytes[start] as number, Uint8Array.of(noWill ? 0 : leave.code), properties)
}

const judgesByType: Readonly<Record<number, UpJudge>> = {
  [TYPE.publish]: onPublish,
  [TYPE.puback]: onAck,
  [TYPE.pubrec]: onAck,
  [TYPE.pubrel]: onPubrel,
  [TYPE.pubcomp]: onAck,
  [TYPE.subscribe]: onSubscribe,
  [TYPE.unsubscribe]: onUnsubscribe,
  [TYPE.pingreq]: onPingreq,
  [TYPE.disconnect]: onDisconnect,
}

/** AUTH is refused too: it is for those who have named a method [MQTT-4.12.0-6], and CONNECT with one is not accepted. */
const notFromClients: UpJudge = () => protocolError('a packet that no client sends')

const JUDGES = Array.from({ length: 16 }, (_, type) => judgesByType[type] ?? notFromClients)

export const judgeUpward = (above: Above): Decide => {
  const { limits } = above.exchange
  const { up } = above.tally
  const state: UpState = {
    rates: undefined,
    aliases: undefined,
    denials: undefined,
    pingedAt: above.clock(),
  }
  return (bytes, start, body, end) => {
    const type = (bytes[start] as number) >> 4
    up.packets[type] = (up.packets[type] as number) + 1
    up.bytes += end - start
    const step = (JUDGES[type] as UpJudge)(above, state, bytes, start, body, end)
    const units = (end - start) >> UNIT
    if (units > 0) above.share.spend(units)
    state.rates ??= new PacketRates(limits, above.clock)
    const ms = state.rates.spend(end - start)
    if (ms > 0 && !isRefusal(step)) {
      above.share.exhaust()
      above.wait(ms)
    }
    return step
  }
}
