/**
 * The one place where a door learns yes or no: gathers the facts, asks #policy/admission.ts, writes one log line and counts one
 * reason. Not the doors: they translate the verdict into HTTP or MQTT.
 */

import type { AccessSnapshot } from '#fleet/access.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { compileAccess, type Access } from '#policy/access.ts'
import {
  admit,
  judgeTopics,
  nameOf,
  NO_CREDENTIALS,
  type Credentials,
  type Facts,
} from '#policy/admission.ts'
import type { Allowed, Ask, Decision, TopicJudge } from '#policy/decision.ts'
import type { RegistryReader } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Anchors } from './anchors.ts'
import type { AnonymousLines } from './anonymous-lines.ts'
import { loggedSubject, subjectOfToken } from './sessions/revoked.ts'
import { whoIsAccess } from './who-is.ts'
import { createWordings } from './wordings.ts'

/** Characters of what was asked for that a line has. */
export const MAX_LOGGED_PATH = 256

/** Which report-only policy a log line names that would have refused, and how it was written then; undefined: none. */
export type Reported = string | undefined

export interface Admission {
  /**
   * Synchronous, no log. Never throws: a registry that cannot be read is the reason `registry_unavailable`.
   * @param credentials default: nothing but the certificate
   */
  judge(peer: Peer, ask: Ask, credentials?: Credentials): Decision
  /**
   * The same for any number of topics: who it is and whether it may be here is judged now, once. Good for this epoch; where `standing`
   * is `registry_unavailable`, for this call only, since no epoch tells when the registry can be read again.
   */
  judgeTopics(peer: Peer, host: string): TopicJudge
  /**
   * Who it is, wherever on the host it may go: every rung about connection, credentials and record, none about policy.
   * @param applicationId of the session that came along; its durations and binding count. No log.
   */
  whoIs(peer: Peer, host: string, credentials: Credentials, applicationId: string | undefined): Decision
  /**
   * One count by door and reason, and one log line; of those without an identity as many lines as {@link AnonymousLines} allows.
   * @returns for {@link Admission.recordAgain}
   */
  record(peer: Peer, ask: Ask, decision: Decision, requestId: string): Reported
  /**
   * Of what was let in and recorded, and may stay: says so where a report-only policy would end it, once until that policy is written otherwise.
   * @param reported what the last of these calls returned
   * @param requestId of the line, if there is one
   */
  recordAgain(peer: Peer, ask: Ask, decision: Allowed, reported: Reported, requestId: () => string): Reported
  /** Rises whenever the feed saw any change or failed: a remembered verdict is good for one epoch. */
  epoch(): number
}

/** What was asked for, without what may be secret: a query string can hold anything. */
const describe = (ask: Ask): Record<string, string> => {
  if (ask.door === 'https') {
    const mark = ask.target.indexOf('?')
    const path = mark === -1 ? ask.target : ask.target.slice(0, mark)
    return { door: ask.door, host: ask.host, method: ask.method, path: path.slice(0, MAX_LOGGED_PATH) }
  }
  const said = ask.act === 'connect' ? ask.clientId : ask.topic
  const asked = said.slice(0, MAX_LOGGED_PATH)
  return ask.act === 'connect'
    ? { door: ask.door, host: ask.host, act: ask.act, client_id: asked }
    : { door: ask.door, host: ask.host, act: ask.act, topic: asked }
}

const reasonOf = (decision: Decision): string => (decision.allow ? 'allowed' : decision.reason)

const sessionName = (decision: Decision): string | undefined =>
  decision.allow && decision.session !== undefined
    ? loggedSubject(subjectOfToken(decision.session.id))
    : undefined

export type CurrentAccess = { readonly snapshot: AccessSnapshot; readonly access: Access }

/** What the registry says now, compiled once per version. The function throws `registry_unavailable`; its argument is RegistryReader.access's. */
export const createAccessReader = (
  registry: Pick<RegistryReader, 'access'>,
  problem: (text: string) => void,
): ((about?: string) => CurrentAccess) => {
  let current: CurrentAccess | undefined
  return (about) => {
    const snapshot = registry.access(about)
    if (current?.snapshot !== snapshot) {
      current = { snapshot, access: compileAccess(snapshot) }
      for (const text of current.access.problems) problem(text)
    }
    return current
  }
}

export const createAdmission = (o: {
  readonly access: (about?: string) => CurrentAccess
  readonly registry: Pick<RegistryReader, 'status'>
  readonly anchors: Anchors
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** for refusals of those who are nobody yet */
  readonly anonymousLines: Pick<AnonymousLines, 'take'>
  /** for whom a bypass lets in: nobody asks who they are, and what they cause leaves no refusal without its line */
  readonly bypassLines: Pick<AnonymousLines, 'take'>
  /** https.session_duration, ms */
  readonly sessionDuration: number
  readonly epoch: () => number
}): Admission => {
  const { registry, anchors, clock, log, sessionDuration } = o
  const decisions = o.metrics.counter('sallyport_decisions_total', 'Verdicts of the doors', [
    'door',
    'reason',
  ])
  const reportOnly = o.metrics.counter(
    'sallyport_report_only_total',
    'Verdicts that a report-only policy would have changed',
    ['door', 'outcome'],
  )
  const wordingOf = createWordings()
  let readable = true
  /** as it was last judged by: what is recorded was judged a moment ago, and does not ask again */
  let judged: Pick<AccessSnapshot, 'policies' | 'ruleGroups'> = { policies: [], ruleGroups: [] }

  /** What would have been said if every report-only policy were in force. */
  const countReport = ({ door }: Ask, decision: Decision): void => {
    const other = decision.allow ? decision.wouldDeny : decision.wouldAllow
    if (other !== undefined) reportOnly.inc({ door, outcome: decision.allow ? 'would_deny' : 'would_allow' })
  }
  const reportedBy = (decision: Decision): Reported =>
    decision.allow && decision.wouldDeny !== undefined ? wordingOf(judged, decision.wouldDeny) : undefined
  /** One line, where there may be one. */
  const write = (peer: Peer, ask: Ask, decision: Decision, requestId: string, message: string): void => {
    const { identity } = decision
    const isSomebody = identity !== undefined && identity.kind !== 'none'
    const lines = decision.allow ? o.bypassLines : o.anonymousLines
    if (!isSomebody && !lines.take()) return
    log.info(
      {
        ...describe(ask),
        reason: reasonOf(decision),
        identity: identity && nameOf(identity),
        application: decision.allow ? decision.application.name : decision.application,
        policy: decision.policy,
        session: sessionName(decision),
        would_deny: decision.allow ? decision.wouldDeny : undefined,
        would_allow: decision.allow ? undefined : decision.wouldAllow,
        fingerprint: peer.leaf?.fingerprint,
        address: peer.address,
        request_id: requestId,
      },
      message,
    )
  }

  const gather = (
    peer: Peer,
    host: string,
  ): (NonNullable<Facts['registry']> & { readonly snapshot: AccessSnapshot }) | undefined => {
    try {
      const { snapshot, access } = o.access(peer.leaf?.fingerprint)
      const facts = {
        access,
        snapshot,
        standing: anchors.standing(snapshot, peer, host, (fingerprint) => registry.status(fingerprint)),
      }
      judged = snapshot
      if (!readable) {
        log.info('the registry can be read again')
        readable = true
      }
      return facts
    } catch (err) {
      // once per outage: every refused request has its own line already
      if (readable) log.error({ err }, 'the registry cannot be read: everybody is refused')
      readable = false
      return undefined
    }
  }

  return {
    judge: (peer, ask, credentials = NO_CREDENTIALS) =>
      admit({ now: clock(), peer, ask, credentials, sessionDuration, registry: gather(peer, ask.host) }),
    judgeTopics: (peer, host) =>
      judgeTopics({ now: clock(), peer, host, sessionDuration, registry: gather(peer, host) }),
    whoIs: (peer, host, credentials, applicationId) => {
      const found = gather(peer, host)
      const ask = { door: 'https', host, method: 'GET', target: '/' } as const
      const registry = found && {
        ...found,
        access: whoIsAccess(found.snapshot, host, applicationId, sessionDuration),
      }
      return admit({ now: clock(), peer, ask, credentials, sessionDuration, registry })
    },
    record: (peer, ask, decision, requestId) => {
      decisions.inc({ door: ask.door, reason: reasonOf(decision) })
      countReport(ask, decision)
      write(peer, ask, decision, requestId, decision.allow ? 'admitted' : 'refused')
      return reportedBy(decision)
    },
    recordAgain: (peer, ask, decision, reported, requestId) => {
      const now = reportedBy(decision)
      if (now === undefined || now === reported) return now
      countReport(ask, decision)
      write(peer, ask, decision, requestId(), 'stays')
      return now
    },
    epoch: o.epoch,
  }
}
