/**
 * What admission said of a client and of its topics, kept for as long as it cannot have changed: one epoch, one connection, and not past the
 * certificates. Not a policy.
 * Bounded; and so is what it has recorded, for a peer can make denials faster than a disk takes lines.
 */

import type { TopicAct } from '#fleet/access.ts'
import { MINUTE, type Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Decision, TopicJudge } from '#policy/decision.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import { isTopicName } from '#wire/topics.ts'
import { MAX_LOGGED_PATH, type Admission } from '../admission.ts'
import { decodeText } from './packets.ts'
import type { Upstream } from './upstream.ts'

/** Two generations of this many bytes for each act: a consumer of more topics is judged more often, never wrongly. */
const GENERATION = 32 * 1024
/** What an entry takes beside its topic, about. */
const ENTRY = 64

/** Refusals that have a line of their own per connection and minute; of the others only how many there were. All are counted. */
const RECORDED_PER_MINUTE = 60

/** Bytes first set aside for the topic asked for last. */
const ROOM = 64

export type TopicVerdict = 'allowed' | MqttReason

/** As much of a topic as stands in a line. */
export const loggedTopic = (topic: string): string => topic.slice(0, MAX_LOGGED_PATH)

/** What admission says of a topic, and no where the broker would read another one: it is that one which nobody has judged. */
export const asRead = (
  decision: Decision,
  topic: string,
  readsOtherwise: Upstream['readsOtherwise'],
): Decision =>
  decision.allow && readsOtherwise?.(topic) === true
    ? {
        allow: false,
        reason: 'topic_denied',
        identity: decision.identity,
        application: decision.application.name,
      }
    : decision

export type Verdicts = {
  /** Of the topic name that stands in `bytes[from..until)`. `bad_request`: it is not one. */
  topic(act: 'publish' | 'receive', bytes: Buffer, from: number, until: number): TopicVerdict
  /** @param filter without its `$share/<group>/` */
  filter(filter: string): TopicVerdict
  will(topic: string): TopicVerdict
  /** the same as {@link Verdicts.filter}, of a subscription that stands, and without a line */
  mayKeep(filter: string): boolean
  /** on everything but a topic */
  standing(): TopicVerdict
  /** Another number when everything has been judged anew. */
  readonly generation: number
  /** A line for what was refused without asking admission. Of `bad_request` without the topic: it is none, and may be anything. */
  refused(act: TopicAct, topic: string, reason: MqttReason): void
  /** The connection has ended: says how many refusals had no line. */
  close(): void
}

type Generations = {
  young: Map<string, TopicVerdict>
  old: Map<string, TopicVerdict>
  bytes: number
  /** the topic that was asked for twice in a row, and allowed: most clients use one for a while */
  last: Buffer | undefined
  lastLength: number
  lastKey: string
}
const generations = (): Generations => ({
  young: new Map(),
  old: new Map(),
  bytes: 0,
  last: undefined,
  lastLength: -1,
  lastKey: '',
})

/** From the end, where topics of one client differ. */
const isLast = ({ last, lastLength }: Generations, bytes: Buffer, from: number, until: number): boolean => {
  if (last === undefined || until - from !== lastLength) return false
  for (let at = lastLength - 1; at >= 0; at--) if (last[at] !== bytes[from + at]) return false
  return true
}

const setLast = (of: Generations, bytes: Buffer, from: number, until: number): void => {
  const length = until - from
  if (of.last === undefined || of.last.length < length)
    of.last = Buffer.allocUnsafeSlow(Math.max(length, ROOM))
  bytes.copy(of.last, 0, from, until)
  of.lastLength = length
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

export type VerdictParts = {
  readonly admission: Admission
  readonly peer: Peer
  readonly host: string
  readonly clock: Clock
  readonly readsOtherwise?: Upstream['readsOtherwise']
  /** a line about this connection */
  note(message: string, more: Record<string, unknown>): void
}

/** A class, because there is one for each connection that idles. */
class KeptVerdicts implements Verdicts {
  readonly #parts: VerdictParts
  #epoch = -1
  #until = -1
  #judge: TopicJudge | undefined
  #generation = 0
  /** made with the first topic of its act, void with each epoch */
  #publish: Generations | undefined
  #receive: Generations | undefined
  #windowEnds = 0
  #recorded = 0

  constructor(parts: VerdictParts) {
    this.#parts = parts
  }

  topic(act: 'publish' | 'receive', bytes: Buffer, from: number, end: number): TopicVerdict {
    const by = this.#current()
    const of = act === 'publish' ? (this.#publish ??= generations()) : (this.#receive ??= generations())
    if (isLast(of, bytes, from, end)) return 'allowed'
    // one byte, one character: cheaper than decoding, and no two topics share a key
    const key = bytes.toString('latin1', from, end)
    const young = of.young.get(key)
    const verdict = young ?? of.old.get(key)
    if (verdict === undefined) return this.#fresh(of, act, key, decodeText(bytes, from, end), by)
    if (young === undefined) keep(of, key, verdict)
    if (verdict !== 'allowed') this.#again(act, key, verdict, by)
    else if (key === of.lastKey) setLast(of, bytes, from, end)
    else of.lastKey = key
    return verdict
  }

  filter(filter: string): TopicVerdict {
    return this.#ask(this.#current(), 'subscribe', filter)
  }

  will(topic: string): TopicVerdict {
    return this.#ask(this.#current(), 'publish', topic)
  }

  mayKeep(filter: string): boolean {
    return this.#current().judge('subscribe', filter).allow
  }

  standing(): TopicVerdict {
    const { standing } = this.#current()
    return standing.allow ? 'allowed' : standing.reason
  }

  get generation(): number {
    return this.#generation
  }

  refused(act: TopicAct, topic: string, reason: MqttReason): void {
    if (!this.#mayRecord()) return
    const named = reason === 'bad_request' ? {} : { topic: loggedTopic(topic) }
    this.#parts.note('refused', { act, ...named, reason })
  }

  close(): void {
    const leftOut = this.#recorded - RECORDED_PER_MINUTE
    if (leftOut > 0) this.#parts.note('refused, without a line for each', { left_out: leftOut })
    this.#recorded = 0
  }

  /** Who it is and whether it may be here, judged once: what a topic costs after that does not depend on the registry. */
  #current(): TopicJudge {
    const { admission, clock, peer, host } = this.#parts
    const now = admission.epoch()
    if (this.#judge !== undefined && now === this.#epoch && clock() <= this.#until) return this.#judge
    const fresh = admission.judgeTopics(peer, host)
    const { standing } = fresh
    this.#epoch = now
    this.#until = standing.allow ? standing.notAfter : Infinity
    this.#publish = this.#receive = undefined
    this.#generation++
    // no epoch tells when the registry can be read again
    this.#judge = !standing.allow && standing.reason === 'registry_unavailable' ? undefined : fresh
    return fresh
  }

  #mayRecord(): boolean {
    const now = this.#parts.clock()
    if (now >= this.#windowEnds) {
      this.#windowEnds = now + MINUTE
      this.close()
    }
    return this.#recorded++ < RECORDED_PER_MINUTE
  }

  #ask(by: TopicJudge, act: TopicAct, topic: string): TopicVerdict {
    const { admission, peer, host, readsOtherwise } = this.#parts
    const decision = asRead(by.judge(act, topic), topic, readsOtherwise)
    if (decision.allow) return 'allowed'
    if (this.#mayRecord())
      admission.record(peer, { door: 'mqtt', host, act, topic }, decision, newRequestId())
    return decision.reason
  }

  /** @param topic undefined: it is not text */
  #fresh(
    of: Generations,
    act: TopicAct,
    key: string,
    topic: string | undefined,
    by: TopicJudge,
  ): TopicVerdict {
    const isName = topic !== undefined && isTopicName(topic)
    const verdict = isName ? this.#ask(by, act, topic) : 'bad_request'
    if (!isName) this.refused(act, '', 'bad_request')
    if (this.#judge !== undefined) keep(of, key, verdict)
    return verdict
  }

  /** A topic that has been refused before is refused in every line again. */
  #again(act: TopicAct, key: string, verdict: MqttReason, by: TopicJudge): void {
    const topic = decodeText(Buffer.from(key, 'latin1'), 0, key.length)
    if (topic === undefined || verdict === 'bad_request') this.refused(act, '', verdict)
    else this.#ask(by, act, topic)
  }
}

export const createVerdicts = (parts: VerdictParts): Verdicts => new KeptVerdicts(parts)
