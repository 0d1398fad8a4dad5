/**
 * The packets of a claim's connection, every one answered here: SUBSCRIBE to reply topics, PUBLISH to request topics, and what keeps the
 * connection. Anything else is refused with the codes of any refusal. A table by type. Not what a request means: ./local-topics.ts.
 */

import { MINUTE, type Clock } from '#fleet/clock.ts'
import { MQTT_CODES, REASON, SUBACK_FAILURE, type MqttReason } from '#wire/mqtt-codes.ts'
import { LOCAL_PREFIX } from '#wire/relay.ts'
import { makeAck, readAck, readDisconnect } from './ack-packets.ts'
import type { ClaimClient } from './claims.ts'
import { malformed, type Decide, type Refusal, type Step } from './frames.ts'
import type { LocalTopics } from './local-topics.ts'
import { decodeText, PINGRESP, TYPE, type Level } from './packets.ts'
import { numberOf, readProperties } from './properties.ts'
import { readPublish } from './publish-packet.ts'
import { makeSuback, makeUnsuback, readSubscribe, readUnsubscribe } from './subscribe-packets.ts'

/** More than six topics are not there to be asked for. */
const MOST_FILTERS = 16
/** A whole enrolment has about ten. */
const PACKETS_PER_MINUTE = 120

type Claim = {
  readonly local: LocalTopics
  readonly level: Level
  readonly client: ClaimClient
}

const refusal = (reason: MqttReason, detail: string): Refusal => ({ reason, detail })

type Judge = (claim: Claim, bytes: Buffer, start: number, body: number, end: number) => Step

const onPublish: Judge = ({ local, level, client }, bytes, start, body, end) => {
  const head = readPublish(bytes, start, body, end, level, 'client')
  if (typeof head === 'string') return malformed(`PUBLISH: ${head}`)
  const { qos, id, retain, correlationFrom, correlationUntil } = head
  // none was offered [MQTT-3.3.2-9]
  if (head.alias !== 0) return malformed('PUBLISH: a topic alias')
  const topic = decodeText(bytes, head.topicFrom, head.topicUntil)
  if (topic === undefined) return malformed('PUBLISH: the topic is not a text')
  const ours = topic.startsWith(LOCAL_PREFIX) && !retain
  const denied = ours
    ? local.publish(topic, bytes.subarray(head.payloadFrom, end), {
        correlation: correlationFrom === 0 ? undefined : bytes.subarray(correlationFrom, correlationUntil),
      })
    : 'topic_denied'
  // neither 3.x nor QoS 0 has a way to say no
  if (denied !== undefined && (level < 5 || qos === 0))
    return refusal(denied, 'PUBLISH: who comes to enrol may not')
  if (qos > 0)
    client.answer(
      makeAck(
        level,
        qos === 1 ? TYPE.puback : TYPE.pubrec,
        id,
        denied === undefined ? 0 : MQTT_CODES[denied].puback5,
      ),
    )
  return 'skip'
}

const onPubrel: Judge = ({ level, client }, bytes, _start, body, end) => {
  const ack = readAck(bytes, body, end, level, TYPE.pubrel)
  if (ack === undefined) return malformed('PUBREL: malformed')
  client.answer(makeAck(level, TYPE.pubcomp, ack.id))
  return 'skip'
}

const onSubscribe: Judge = ({ local, level, client }, bytes, _start, body, end) => {
  const list = readSubscribe(bytes, body, end, level, MOST_FILTERS)
  if (list === undefined) return malformed('SUBSCRIBE: malformed')
  if (list === 'too many') return refusal('quota_exceeded', 'SUBSCRIBE: too many filters')
  const properties =
    level < 5 ? undefined : readProperties(list.properties, 0, list.properties.length, 'subscribe')
  // said to be not available (MQTT 5 §3.2.2.3.12)
  if (numberOf(properties?.list ?? [], 'subscriptionIdentifier') !== undefined)
    return malformed('SUBSCRIBE: a subscription identifier')
  const no = level < 5 ? SUBACK_FAILURE : MQTT_CODES.topic_denied.suback5
  client.answer(
    makeSuback(
      level,
      list.id,
      list.filters.map(({ filter }) => (local.grants(filter) ? 0 : no)),
    ),
  )
  return 'skip'
}

const onUnsubscribe: Judge = ({ local, level, client }, bytes, _start, body, end) => {
  const list = readUnsubscribe(bytes, body, end, level, MOST_FILTERS)
  if (list === undefined) return malformed('UNSUBSCRIBE: malformed')
  if (list === 'too many') return refusal('quota_exceeded', 'UNSUBSCRIBE: too many filters')
  client.answer(
    makeUnsuback(
      level,
      list.id,
      list.filters.map((filter) => (local.forget(filter) ? REASON.success : REASON.noSubscriptionExisted)),
    ),
  )
  return 'skip'
}

const onPing: Judge = ({ client }, _bytes, _start, body, end) => {
  if (body !== end) return malformed('PINGREQ: not empty')
  client.answer(PINGRESP)
  return 'skip'
}

const onDisconnect: Judge = ({ level, client }, bytes, _start, body, end) => {
  if (readDisconnect(bytes, body, end, level, 'client') === undefined)
    return malformed('DISCONNECT: malformed')
  client.goodbye()
  return 'hold'
}

/** What is not here, nobody who has been sent nothing but QoS 0 has a use for. */
const JUDGES: Readonly<Record<number, Judge>> = {
  [TYPE.publish]: onPublish,
  [TYPE.pubrel]: onPubrel,
  [TYPE.subscribe]: onSubscribe,
  [TYPE.unsubscribe]: onUnsubscribe,
  [TYPE.pingreq]: onPing,
  [TYPE.disconnect]: onDisconnect,
}

export const judgeClaim = (claim: Claim & { readonly clock: Clock }): Decide => {
  let minute = claim.clock()
  let packets = 0
  return (bytes, start, body, end) => {
    const now = claim.clock()
    if (now - minute >= MINUTE || now < minute) {
      minute = now
      packets = 0
    }
    packets += 1
    if (packets > PACKETS_PER_MINUTE) return refusal('rate_limited', 'too many packets')
    const judge = JUDGES[(bytes[start] as number) >> 4]
    return judge?.(claim, bytes, start, body, end) ?? malformed('a packet that is not expected here')
  }
}
