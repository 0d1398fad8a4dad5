/**
 * The verdict of both doors: facts in, {@link Decision} out, by one ladder. Pure and synchronous: who gathers the facts, logs and
 * counts is #gateway/admission.ts. The rungs and their order are docs/admission.md, which a test holds against them.
 */

import type { Denial } from '#fleet/denial.ts'
import { untilOf, firstMatch } from './access/evaluate.ts'
import { explainEach, type PolicyExplanation } from './access/explain.ts'
import type { CompiledPolicy } from './access/rules.ts'
import {
  bindingOf,
  caseOf,
  durationOf,
  identityOf,
  requestOf,
  type Case,
  type Facts,
  type Request,
} from './case.ts'
import type { Allowed, Decision, Denied, Identity, TopicJudge } from './decision.ts'
import {
  CERTIFICATE_RUNGS,
  CONNECTION_RUNGS,
  CREDENTIAL_RUNGS,
  REQUEST_RUNGS,
  TOPIC_RUNG,
  climb,
  sessionEnd,
} from './ladder.ts'

export { foreignName, nameOf, type Facts } from './case.ts'
export {
  NO_CREDENTIALS,
  type Credentials,
  type DeviceRecord,
  type ServiceTokenFacts,
  type SessionFacts,
  type Standing,
} from './facts.ts'

const faultOf = (seen: Pick<Case, 'now' | 'held'>): Denial | undefined =>
  climb(CERTIFICATE_RUNGS, seen, undefined)

const isBypass = (by: CompiledPolicy | undefined): boolean => by?.policy.decision === 'bypass'

/** What a request comes to if `by` is the policy that decides; undefined: it is let in. The connection has been judged before. */
const reasonBy = (seen: Case, by: CompiledPolicy | undefined): Denial | undefined =>
  (isBypass(by) ? undefined : (seen.fault ?? climb(CREDENTIAL_RUNGS, seen, by))) ??
  climb(REQUEST_RUNGS, seen, by)

const denied = (
  reason: Denial,
  { application, presented }: Request,
  identity: Identity | undefined,
  by?: CompiledPolicy,
): Denied => {
  const who = identity ?? identityOf(presented)
  return {
    allow: false,
    reason,
    ...(who === undefined ? {} : { identity: who }),
    ...(application === undefined ? {} : { application: application.application.name }),
    ...(reason === 'policy_denied' && by !== undefined ? { policy: by.policy.name } : {}),
  }
}

const endOf = (seen: Case, by: CompiledPolicy, duration: number): number => {
  const { application, subject, held, session, serviceToken, ask } = seen
  let end = untilOf(application?.policies ?? [], by, subject)
  const standing = held?.standing
  if (subject.certificate !== undefined && (standing?.kind === 'ours' || standing?.kind === 'foreign'))
    end = Math.min(end, subject.certificate.leaf.notAfter, standing.above.notAfter)
  if (isBypass(by)) return end
  if (serviceToken.kind === 'good') end = Math.min(end, serviceToken.expiresAt ?? Infinity)
  const isRunning = ask.door === 'https' && ask.running === true
  if (session.kind === 'good' && !isRunning) end = Math.min(end, session.session.expiresAt)
  return Math.min(end, sessionEnd(seen, duration))
}

const verdict = (seen: Case, by: CompiledPolicy | undefined): Decision => {
  const reason = reasonBy(seen, by)
  if (reason !== undefined) return denied(reason, seen, seen.identity, by)
  const { application, session } = seen
  const identity: Identity | undefined = isBypass(by) ? { kind: 'none' } : seen.identity
  // every rung has passed, so all of them are there; said again because a later rung could forget it
  if (application === undefined || identity === undefined || by === undefined)
    return denied('policy_denied', seen, undefined)
  const duration = durationOf(seen, by)
  const allowed: Allowed = {
    allow: true,
    identity,
    application: application.application,
    policy: by.policy.name,
    notAfter: endOf(seen, by, duration),
    plan: { duration, binding: bindingOf(application) },
  }
  return session.kind === 'good' && !isBypass(by) ? { ...allowed, session: session.session } : allowed
}

/** What the verdict would be with the report-only policies in force, when that is another one. */
const withReport = (seen: Case, decision: Decision): Decision => {
  const all = seen.application?.withReports
  if (all === undefined) return decision
  const other = firstMatch(all, seen.subject)
  if (other === undefined || (reasonBy(seen, other) === undefined) === decision.allow) return decision
  const { name } = other.policy
  return decision.allow ? { ...decision, wouldDeny: name } : { ...decision, wouldAllow: name }
}

/** Everything that does not depend on the topic. `seen` undefined: nobody has looked at who it is. */
const stand = (facts: Facts): { readonly standing: Decision; readonly seen: Case | undefined } => {
  const request = requestOf(facts)
  const broken = climb(CONNECTION_RUNGS, request, undefined)
  if (broken !== undefined) return { standing: denied(broken, request, undefined), seen: undefined }
  const seen = caseOf(request, facts.credentials, faultOf)
  const by = firstMatch(request.application?.policies ?? [], seen.subject)
  return { standing: withReport(seen, verdict(seen, by)), seen }
}

/** @returns the first rung's reason, or leave to pass: by which application and which of its policies */
export const admit = (facts: Facts): Decision => {
  const { standing, seen } = stand(facts)
  if (!standing.allow || seen === undefined) return standing
  const reason = TOPIC_RUNG.judge(seen, undefined)
  return reason === undefined ? standing : denied(reason, seen, seen.identity)
}

/** {@link admit} of any number of topics on one host, for the price of one. */
export const judgeTopics = (facts: Omit<Facts, 'ask'> & { readonly host: string }): TopicJudge => {
  const { host } = facts
  const { standing, seen } = stand({ ...facts, ask: { door: 'mqtt', host, act: 'receive', topic: '' } })
  if (!standing.allow || seen === undefined) return { standing, judge: () => standing }
  return {
    standing,
    judge: (act, topic) => {
      const asked = { ask: { door: 'mqtt', host, act, topic }, mayUse: seen.mayUse } as const
      const reason = TOPIC_RUNG.judge(asked, undefined)
      return reason === undefined ? standing : denied(reason, seen, seen.identity)
    },
  }
}

/** For people: why each policy of the application matches these facts or not, in the order of judging. None: there is no application. */
export const explainPolicies = (facts: Facts): readonly PolicyExplanation[] => {
  const request = requestOf(facts)
  const { withReports, policies = [] } = request.application ?? {}
  return explainEach(withReports ?? policies, caseOf(request, facts.credentials, faultOf).subject)
}
