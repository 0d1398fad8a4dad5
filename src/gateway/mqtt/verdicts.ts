/**
 * What admission said of a client and of its topics, kept for as long as it cannot have changed: one epoch, one connection, and not past the
 * certificates. Not a policy.
 * Bounded; and so is what it has recorded, for a peer can make denials faster than a disk takes lines.
 */

import type { TopicAct } from '#fleet/access.ts'
import { MINUTE, type Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import type { TopicJudge } from '#policy/decision.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import { isTopicName } from '#wire/topics.ts'
import type { Admission } from '../admission.ts'
import { decodeText } from './packets.ts'

/** Two generations of this many bytes for each act: a consumer of more topics is judged more often, never wrongly. */
const GENERATION = 32 * 1024
/** What an entry takes beside its topic, about. */
const ENTRY = 64

/** Denials recorded per connection and minute; all are counted. */
const RECORDED_PER_MINUTE = 60

export type TopicVerdict = 'allowed' | MqttReason

export type Verdicts = {
  /** Of the topic name that stands in `bytes[from..until)`. `bad_request`: it is not one. */
  topic(act: 'publish' | 'receive', bytes: Buffer, from: number, until: number): TopicVerdict
  filter(filter: string): TopicVerdict
  will(topic: string): TopicVerdict
}

type Generations = { young: Map<string, TopicVerdict>; old: Map<string, TopicVerdict>; bytes: number }
const generations = (): Generations => ({ young: new Map(), old: new Map(), bytes: 0 })
const bothActs = (): Record<'publish' | 'receive', Generations> => ({
  publish: generations(),
  receive: generations(),
})

export const createVerdicts = (o: {
  readonly admission: Admission
  readonly peer: Peer
  readonly host: string
  readonly clock: Clock
}): Verdicts => {
  const { admission, peer, host, clock } = o
  let epoch = -1
  let until = -1
  let judge: TopicJudge | undefined
  let known = bothActs()
  let windowEnds = 0
  let recorded = 0

  /** Who it is and whether it may be here, judged once: what a topic costs after that does not depend on the registry. */
  const current = (): TopicJudge => {
    const now = admission.epoch()
    if (judge !== undefined && now === epoch && clock() <= until) return judge
    const fresh = admission.judgeTopics(peer, host)
    const { standing } = fresh
    epoch = now
    until = standing.allow ? standing.notAfter : Infinity
    known = bothActs()
    // no epoch tells when the registry can be read again
    judge = !standing.allow && standing.reason === 'registry_unavailable' ? undefined : fresh
    return fresh
  }

  const mayRecord = (): boolean => {
    const now = clock()
    if (now >= windowEnds) {
      windowEnds = now + MINUTE
      recorded = 0
    }
    return recorded++ < RECORDED_PER_MINUTE
  }

  const ask = (by: TopicJudge, act: TopicAct, topic: string): TopicVerdict => {
    const decision = by.judge(act, topic)
    if (decision.allow) return 'allowed'
    if (mayRecord()) admission.record(peer, { door: 'mqtt', host, act, topic }, decision, newRequestId())
    return decision.reason
  }

  const keep = (of: Generations, key: string, verdict: TopicVerdict): void => {
    const size = key.length + ENTRY
    if (of.bytes + size > GENERATION) {
      of.old = of.young
      of.young = new Map()
      of.bytes = 0
    }
    of.bytes += size
    of.young.set(key, verdict)
  }

  return {
    topic: (act, bytes, from, end) => {
      const by = current()
      const of = known[act]
      // one byte, one character: cheaper than decoding, and no two topics share a key
      const key = bytes.toString('latin1', from, end)
      const young = of.young.get(key)
      if (young !== undefined) return young
      const old = of.old.get(key)
      if (old !== undefined) {
        keep(of, key, old)
        return old
      }
      const topic = decodeText(bytes, from, end)
      const verdict = topic === undefined || !isTopicName(topic) ? 'bad_request' : ask(by, act, topic)
      if (judge !== undefined) keep(of, key, verdict)
      return verdict
    },
    filter: (filter) => ask(current(), 'subscribe', filter),
    will: (topic) => ask(current(), 'publish', topic),
  }
}
