/**
 * The question of a policy test as a door would put it to #policy. Refused is what never comes to a verdict there, so that "admitted" is not
 * said of it. Not the facts about whoever asks: policy-test.ts.
 */

import type { TopicAct } from '#fleet/access.ts'
import type { Ask } from '#policy/decision.ts'
import { isForwardedMethod, isOwnPath, ownPathOf } from '#policy/forwarded.ts'
import { canonicalTarget } from '#policy/target.ts'
import type { PolicyTest } from '#wire/policy-test.ts'
import { isTopicFilter, isTopicName, stripShare } from '#wire/topics.ts'
import { bad } from './reading.ts'

/** Whom a client believes to speak to: the host without port and trailing dot; the authority with the port, when it is not 443. */
type Facing = { readonly host: string; readonly authority: string }

const HOST_AND_PORT = /^(.*?)\.?(?::(\d{1,5}))?$/

/** @param text as in SNI, or as in Host */
export const facingOf = (text: string): Facing => {
  const [, host = '', port] = HOST_AND_PORT.exec(text.toLowerCase()) ?? []
  return { host, authority: port === undefined || Number(port) === 443 ? host : `${host}:${Number(port)}` }
}

/** As the door asks: what is no topic, or none of a subscription, never comes to a verdict there. @throws FleetError `bad_request` */
const topicOf = (act: TopicAct, text: string): string => {
  const topic = act === 'subscribe' ? stripShare(text) : text
  const isOne = act === 'subscribe' ? isTopicFilter : isTopicName
  if (topic === undefined || !isOne(topic))
    throw bad('mqtt.topic', `${text} is not an MQTT topic ${act === 'subscribe' ? 'filter' : 'name'}`)
  return topic
}

/** @throws FleetError `bad_request` */
const targetOf = (raw: string, authority: string): string => {
  const read = canonicalTarget(raw, authority)
  // what cannot be read is for the ladder to say: it is a verdict
  if (!read.ok) return raw
  if (isOwnPath(ownPathOf(read)))
    throw bad('target', 'below /cdn-cgi/access/ the gateway itself answers: no policy is asked')
  return read.target
}

/** @throws FleetError `bad_request`: no policy is asked about it, and no application gets it */
export const askOf = (
  { mqtt, method = 'GET', target = '/', origin }: PolicyTest,
  { host, authority }: Facing,
): Ask => {
  const page = origin === undefined ? {} : { origin, authority }
  if (mqtt === undefined) {
    if (!isForwardedMethod(method))
      throw bad('method', `${method} is passed on to no application, whoever asks; methods are in capitals`)
    return { door: 'https', host, method, target: targetOf(target, authority), ...page }
  }
  if (mqtt.act !== 'connect')
    // a shared subscription is judged by what it is of
    return { door: 'mqtt', host, act: mqtt.act, topic: topicOf(mqtt.act, mqtt.topic) }
  const { act, client_id: clientId, websocket = false } = mqtt
  return { door: 'mqtt', host, act, clientId, websocket, ...page }
}
