/** Why each policy of an application matches or does not, for people. Slow, and never asked by a door: evaluate.ts is. */

import type { PolicyDecision } from '#fleet/access.ts'
import { concerns } from './evaluate.ts'
import type { CompiledPolicy, RuleAt, Why } from './rules.ts'
import type { Subject } from './selectors.ts'

/** `concerned` false: it has no say about whoever shows no such credential; then it has no rule that decided. Else why: see {@link Why}. */
export type PolicyExplanation = Why & {
  readonly name: string
  readonly decision: PolicyDecision
  readonly reportOnly: boolean
  readonly matched: boolean
  readonly concerned: boolean
}

const NOTHING: Record<keyof Why, RuleAt | undefined> = {
  include: undefined,
  require: undefined,
  exclude: undefined,
}

/** @param policies in order, those of report-only too */
export const explainEach = (
  policies: readonly CompiledPolicy[],
  subject: Subject,
): readonly PolicyExplanation[] =>
  policies.map(({ policy, matches, why }) => {
    const concerned = concerns(policy, subject)
    return {
      name: policy.name,
      decision: policy.decision,
      reportOnly: policy.reportOnly === true,
      matched: concerned && matches(subject),
      concerned,
      ...(concerned ? why(subject) : NOTHING),
    }
  })
