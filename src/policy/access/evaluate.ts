/** Which policy of an application decides: Cloudflare's order, the first match stops, none is a no. Not the rules: rules.ts. */

import { POLICY_DECISIONS, type Policy, type PolicyDecision } from '#fleet/access.ts'
import type { CompiledPolicy } from './rules.ts'
import type { Subject } from './selectors.ts'

const isAuthenticated = ({ certificate, serviceToken }: Subject): boolean =>
  certificate !== undefined || serviceToken !== undefined

/** Whom each decision is about. Who presents a service token is let in by Service Auth and not by `allow`, whatever certificate comes with it; MQTT knows no bypass. */
const CONCERNS: Readonly<Record<PolicyDecision, (subject: Subject) => boolean>> = {
  bypass: ({ door }) => door === 'https',
  non_identity: isAuthenticated,
  allow: ({ certificate, serviceToken }) => certificate !== undefined && serviceToken === undefined,
  deny: isAuthenticated,
}

/** Bypass and Service Auth come first, whatever the application's order says of them and the others. */
const comesFirst = ({ policy: { decision } }: CompiledPolicy): boolean =>
  decision === 'bypass' || decision === 'non_identity'

export const isDecision = (decision: string): decision is PolicyDecision =>
  (POLICY_DECISIONS as readonly string[]).includes(decision)

export const inOrder = (policies: readonly CompiledPolicy[]): readonly CompiledPolicy[] => [
  ...policies.filter(comesFirst),
  ...policies.filter((policy) => !comesFirst(policy)),
]

/** May this policy have a say at all? Where not, its rules are not looked at. */
export const concerns = (policy: Policy, subject: Subject): boolean => CONCERNS[policy.decision](subject)

/** @param policies in order */
export const firstMatch = (
  policies: readonly CompiledPolicy[],
  subject: Subject,
): CompiledPolicy | undefined => {
  for (const compiled of policies)
    if (concerns(compiled.policy, subject) && compiled.matches(subject)) return compiled
  return undefined
}

/** ms: the last moment at which {@link firstMatch} gives `match` of the same subject, as far as time alone can change it. */
export const untilOf = (
  policies: readonly CompiledPolicy[],
  match: CompiledPolicy,
  subject: Subject,
): number => {
  let end = Infinity
  for (const compiled of policies) {
    if (compiled.until !== undefined && concerns(compiled.policy, subject))
      end = Math.min(end, compiled.until(subject))
    if (compiled === match) break
  }
  return end
}
