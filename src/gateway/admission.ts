/**
 * The one place where a door learns yes or no: gathers the facts, asks #policy/admission.ts, writes one log line and counts one
 * reason. Not the doors: they translate the verdict into HTTP or MQTT.
 */

import type { AccessSnapshot } from '#fleet/access.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { compileAccess, type Access } from '#policy/access.ts'
import { admit, judgeTopics, nameOf, type Facts } from '#policy/admission.ts'
import type { Ask, Decision, TopicJudge } from '#policy/decision.ts'
import type { RegistryReader } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Anchors } from './anchors.ts'
import type { AnonymousLines } from './anonymous-lines.ts'

const MAX_LOGGED_PATH = 256

export interface Admission {
  /** Synchronous, no log. Never throws: a registry that cannot be read is the reason `registry_unavailable`. */
  judge(peer: Peer, ask: Ask): Decision
  /**
   * The same for any number of topics: who it is and whether it may be here is judged now, once. Good for this epoch; where `standing`
   * is `registry_unavailable`, for this call only, since no epoch tells when the registry can be read again.
   */
  judgeTopics(peer: Peer, host: string): TopicJudge
  /** One count by door and reason, and one log line; of refusals without an identity as many lines as {@link AnonymousLines} allows. */
  record(peer: Peer, ask: Ask, decision: Decision, requestId: string): void
  /** Rises whenever the feed saw any change or failed: a remembered verdict is good for one epoch. */
  epoch(): number
}

/** What was asked for, without what may be secret: a query string can hold anything. */
const describe = (ask: Ask): Record<string, string> => {
  if (ask.door === 'https') {
    const mark = ask.target.indexOf('?')
    const path = mark === -1 ? ask.target : ask.target.slice(0, mark)
    return { method: ask.method, path: path.slice(0, MAX_LOGGED_PATH) }
  }
  return ask.act === 'connect'
    ? { act: ask.act, client_id: ask.clientId.slice(0, MAX_LOGGED_PATH) }
    : { act: ask.act, topic: ask.topic.slice(0, MAX_LOGGED_PATH) }
}

export type CurrentAccess = { readonly snapshot: AccessSnapshot; readonly access: Access }

/** What the registry says now, compiled once per version. The function throws `registry_unavailable`. */
export const createAccessReader = (
  registry: Pick<RegistryReader, 'access'>,
  problem: (text: string) => void,
): (() => CurrentAccess) => {
  let current: CurrentAccess | undefined
  return () => {
    const snapshot = registry.access()
    if (current?.snapshot !== snapshot) {
      current = { snapshot, access: compileAccess(snapshot) }
      for (const text of current.access.problems) problem(text)
    }
    return current
  }
}

export const createAdmission = (o: {
  readonly access: () => CurrentAccess
  readonly registry: Pick<RegistryReader, 'status'>
  readonly anchors: Anchors
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** for refusals of those who are nobody yet */
  readonly anonymousLines: AnonymousLines
  readonly epoch: () => number
}): Admission => {
  const { registry, anchors, clock, log } = o
  const decisions = o.metrics.counter('sallyport_decisions_total', 'Verdicts of the doors', [
    'door',
    'reason',
  ])
  let readable = true

  const gather = (peer: Peer, host: string): Facts['registry'] => {
    try {
      const { snapshot, access } = o.access()
      const facts = {
        access,
        standing: anchors.standing(snapshot, peer, host, (fingerprint) => registry.status(fingerprint)),
      }
      if (!readable) log.info('the registry can be read again')
      readable = true
      return facts
    } catch (err) {
      // once per outage: every refused request has its own line already
      if (readable) log.error({ err }, 'the registry cannot be read: everybody is refused')
      readable = false
      return undefined
    }
  }

  return {
    judge: (peer, ask) => admit({ now: clock(), peer, ask, registry: gather(peer, ask.host) }),
    judgeTopics: (peer, host) => judgeTopics({ now: clock(), peer, host, registry: gather(peer, host) }),
    record: (peer, ask, decision, requestId) => {
      const reason = decision.allow ? 'allowed' : decision.reason
      decisions.inc({ door: ask.door, reason })
      if (!decision.allow && decision.identity === undefined && !o.anonymousLines.take()) return
      const who = decision.identity === undefined ? {} : { identity: nameOf(decision.identity) }
      const why = decision.allow ? { application: decision.application.name, policy: decision.policy } : {}
      log.info(
        {
          door: ask.door,
          host: ask.host,
          ...describe(ask),
          reason,
          ...who,
          ...why,
          fingerprint: peer.leaf?.fingerprint,
          address: peer.address,
          request_id: requestId,
        },
        decision.allow ? 'admitted' : 'refused',
      )
    },
    epoch: o.epoch,
  }
}
