/**
 * How a report-only policy is written now, as one word: what stands is told of in the log once for each wording, however often it is judged
 * again. Not the verdict: #policy/admission.ts.
 */

import { hash } from 'node:crypto'
import type { AccessSnapshot } from '#fleet/access.ts'

type Written = Pick<AccessSnapshot, 'policies' | 'ruleGroups'>

/** The policy, and the rule groups that it names, which name none themselves: another one is put every day, and is no news of this one. */
const writtenOf = ({ policies, ruleGroups }: Written, policy: string): unknown => {
  const written = policies.find(({ name }) => name === policy)
  const rules = written === undefined ? [] : [written.include, written.require, written.exclude].flat()
  const named = new Set(rules.flatMap((rule) => ('group' in rule ? [rule.group.id] : [])))
  return [written, ruleGroups.filter(({ name }) => named.has(name))]
}

/** A function of snapshot and name of a policy, with another word when the policy is another one, or is written otherwise. */
export const createWordings = (): ((snapshot: Written, policy: string) => string) => {
  let current: Written | undefined
  const known = new Map<string, string>()
  return (snapshot, policy) => {
    if (current !== snapshot) known.clear()
    current = snapshot
    const found = known.get(policy)
    if (found !== undefined) return found
    const word = `${policy} ${hash('sha256', JSON.stringify(writtenOf(snapshot, policy)), 'hex')}`
    known.set(policy, word)
    return word
  }
}
