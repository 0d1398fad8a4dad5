/** Policies and rule groups between the wire and the nouns. Their rules: rules.ts. Not stored here: ../apply-access.ts does that. */

import type { Policy, RuleGroup, Rules } from '#fleet/access.ts'
import { formatDuration } from '#fleet/duration.ts'
import type { PolicyBody, RuleGroupBody } from '#wire/access.ts'
import { bad } from '../reading.ts'
import { readRules } from './rules.ts'
import { readSessionDuration } from './session-duration.ts'

const KEYS = ['include', 'require', 'exclude'] as const

/** @throws FleetError `bad_request`, `unsupported`: a selector that there is not */
export const readPolicy = (name: string, body: PolicyBody): Policy => ({
  name,
  decision: body.decision,
  ...readRules(body),
  ...readSessionDuration(body.session_duration),
  reportOnly: body.report_only ?? false,
})

/** @throws FleetError as {@link readPolicy}, and for a group that holds another one: nobody could see what it says */
export const readRuleGroup = (name: string, body: RuleGroupBody): RuleGroup => {
  const rules = readRules(body)
  for (const key of KEYS) {
    const at = rules[key].findIndex((rule) => 'group' in rule)
    if (at !== -1) throw bad(`${key}[${at}]`, 'a rule group cannot hold another one: write its rules here')
  }
  return { name, ...rules }
}

const rulesToWire = ({ include, require, exclude }: Rules) => ({
  include: [...include],
  require: [...require],
  exclude: [...exclude],
})

/** What can be written back as it is. Absent is what the application says. */
export const policyToWire = (policy: Policy) => ({
  name: policy.name,
  decision: policy.decision,
  ...rulesToWire(policy),
  ...(policy.sessionDuration === undefined
    ? {}
    : { session_duration: formatDuration(policy.sessionDuration) }),
  report_only: policy.reportOnly ?? false,
})

export const ruleGroupToWire = (group: RuleGroup) => ({ name: group.name, ...rulesToWire(group) })
