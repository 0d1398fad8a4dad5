/**
 * PUBLISH from a client: judged in place, forwarded as it came when nothing in it must change; what is denied is answered in the client's version. Not
 * the other packets: ./upward.ts.
 */

import { MQTT_CODES, REASON, type MqttReason } from '#wire/mqtt-codes.ts'
import { isOwnTopic, isTopicName } from '#wire/topics.ts'
import { noteAllowed, stayAwake, type Above, type UpJudge, type UpState } from './above.ts'
import { makeAck } from './ack-packets.ts'
import { TopicAliases } from './aliases.ts'
import { Denials } from './denials.ts'
import { malformed, protocolError, type Refusal, type Step } from './frames.ts'
import { decodeText, TYPE } from './packets.ts'
import { ALIAS_ZERO, readPublish, rewritePublish, type PublishHead } from './publish-packet.ts'
import type { TopicVerdict } from './verdicts.ts'

const DOLLAR = 0x24

const invalidAlias = (detail: string): Refusal => ({ ...malformed(detail), code: REASON.topicAliasInvalid })

type Message = Pick<PublishHead, 'qos' | 'id' | 'dup'>

/** The message ends here: the client is told that it has arrived. */
const swallow = (above: Above, state: UpState, { qos, id, dup }: Message): Step => {
  const { level, flows, oneMessage } = above.exchange
  if (qos === 1) {
    above.answer(makeAck(level, TYPE.puback, id))
    oneMessage?.acknowledged(TYPE.puback, id, 0)
  } else if (qos === 2) {
    above.answer(makeAck(level, TYPE.pubrec, id))
    // what is sent again the broker may hold: its PUBREL is the broker's then, or the next message of that id would be taken for the same
    if (!dup) flows.swallow(id)
  }
  stayAwake(above, state)
  return 'skip'
}

const deny = (above: Above, state: UpState, reason: MqttReason, message: Message): Step => {
  const { exchange } = above
  const { qos, id, dup } = message
  above.tally.denied('publish', reason)
  const refusal: Refusal = { reason, detail: 'PUBLISH: refused', recorded: true }
  if (reason === 'bad_request')
    return { ...malformed('PUBLISH: not a topic name'), code: REASON.topicNameInvalid }
  // 3.x has no way to say no [MQTT-3.3.5-2]. And what would be let in tomorrow must not be taken for good today.
  const mayDrop = above.denyPublish === 'drop' && reason === 'topic_denied'
  if (exchange.level < 5 && !mayDrop) return refusal
  state.denials ??= new Denials(exchange.limits.denied_per_minute, above.clock)
  const tooMany = state.denials.add()
  if (exchange.level < 5 || qos === 0) {
    above.tally.dropped('denied')
    return tooMany ? refusal : swallow(above, state, message)
  }
  const type = qos === 1 ? TYPE.puback : TYPE.pubrec
  const code = MQTT_CODES[reason].puback5
  above.answer(makeAck(5, type, id, code))
  exchange.oneMessage?.acknowledged(type, id, code)
  // a PUBREC that says no is the last that the client hears of it (§4.3.3); the broker may hold it, as above
  if (qos === 2 && dup) {
    exchange.flows.forget(id)
    above.ask(makeAck(5, TYPE.pubrel, id))
  }
  if (tooMany) return refusal
  stayAwake(above, state)
  return 'skip'
}

/** A PUBLISH to the door itself. */
const onLocal = (
  above: Above,
  state: UpState,
  bytes: Buffer,
  end: number,
  head: PublishHead,
  topic: string,
): Step => {
  const { payloadFrom, correlationFrom, correlationUntil } = head
  const { local, verdicts, exchange } = above
  const standing = verdicts.standing()
  // where one message is all, nobody could hear the answer
  const closed = local === undefined || exchange.oneMessage !== undefined
  const correlation = correlationFrom === 0 ? undefined : bytes.subarray(correlationFrom, correlationUntil)
  const reason =
    standing !== 'allowed'
      ? standing
      : closed
        ? 'topic_denied'
        : local.publish(topic, bytes.subarray(payloadFrom, end), { correlation })
  if (reason === undefined) return swallow(above, state, head)
  verdicts.refused('publish', topic, reason)
  return deny(above, state, reason, head)
}

/** Whoever answers is made to write to the response topic: it must be one that this client may hear of. */
const responseVerdict = ({ verdicts }: Above, bytes: Buffer, head: PublishHead): TopicVerdict =>
  head.responseFrom === 0
    ? 'allowed'
    : verdicts.topic('receive', bytes, head.responseFrom, head.responseUntil)

export const onPublish: UpJudge = (above, state, bytes, start, body, end) => {
  const { exchange } = above
  const { level, flows } = exchange
  const head = readPublish(bytes, start, body, end, level, 'client')
  if (head === ALIAS_ZERO) return invalidAlias(`PUBLISH: ${head}`)
  if (typeof head === 'string') return malformed(`PUBLISH: ${head}`)
  const { qos, id, alias } = head
  if (exchange.oneMessage !== undefined && !exchange.oneMessage.published(qos, id))
    return { reason: 'session_expired', detail: 'one message for each handshake' }
  if (qos > 0) {
    // nothing is sent twice on one connection [MQTT-4.4.0-1]; before MQTT 5 it may be
    if (level === 5 && !flows.isFree(id)) return protocolError('PUBLISH: the packet id is in use')
    if (qos === 2 && flows.isOurs(id)) return swallow(above, state, head)
  }

  let topic = bytes
  let from = head.topicFrom
  let until = head.topicUntil
  if (alias !== 0 && from === until) {
    const known = state.aliases?.topic(alias)
    if (known === undefined) return invalidAlias('PUBLISH: an alias that stands for nothing')
    topic = known
    from = 0
    until = known.length
  } else if (alias !== 0) {
    state.aliases ??= new TopicAliases(exchange.limits.topic_alias_maximum)
    if (!state.aliases.set(alias, bytes, from, until)) return invalidAlias('PUBLISH: one alias too many')
  }
  if (topic[from] === DOLLAR) {
    const name = decodeText(topic, from, until)
    if (name !== undefined && isOwnTopic(name) && isTopicName(name))
      return onLocal(above, state, bytes, end, head, name)
  }

  const verdict = above.verdicts.topic('publish', topic, from, until)
  if (verdict !== 'allowed') return deny(above, state, verdict, head)
  const response = responseVerdict(above, bytes, head)
  if (response !== 'allowed') return deny(above, state, response, head)
  const rewritten =
    alias !== 0 || head.ours
      ? rewritePublish(bytes, start, end, head, topic.subarray(from, until))
      : undefined
  if (rewritten !== undefined && rewritten.length > exchange.maximumPacketSize) {
    above.verdicts.refused('publish', '', 'body_too_large')
    return deny(above, state, 'body_too_large', head)
  }
  if (above.tally.sampled()) noteAllowed(above, 'publish', topic.toString('utf8', from, until))
  if (qos === 0) return rewritten ?? 'forward'
  if (level === 5 && flows.full)
    return {
      reason: 'quota_exceeded',
      detail: 'more messages under way than Receive Maximum',
      code: REASON.receiveMaximumExceeded,
    }
  flows.begin(qos, id)
  if (level < 5 && flows.crowded) {
    exchange.waitsFor = 'window'
    return 'forward-hold'
  }
  return rewritten ?? 'forward'
}
