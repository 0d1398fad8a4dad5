/**
 * Rules to one question: include is OR, require is AND, exclude is NOT, with rule groups in between. Not the selectors: selectors.ts. Not
 * the order of policies: evaluate.ts.
 *
 * A rule that cannot be judged (an unknown selector, an argument that nobody can read, a group that is gone) counts against whoever asks:
 * it lets nobody in, and a `deny` that depends on it holds. The same with an address that is not known, and with what a `bypass` asks about a
 * certificate that nobody has shown.
 */

import type { Policy, Rule, RuleGroup, Rules } from '#fleet/access.ts'
import { SELECTORS, type Matcher, type Subject } from './selectors.ts'

/** `possible`: is it enough that a rule could match? `unshown`: of a certificate that was not shown nothing is known, not even what it is not. */
type Sense = { readonly possible: boolean; readonly unshown: boolean }

const opposite = (sense: Sense): Sense => ({ ...sense, possible: !sense.possible })

/** `unread`: how many of the rules cannot be judged, those in groups too; `matcher` has taken them into account. */
type Judged = { readonly matcher: Matcher; readonly unread: number }

/** A place in one of the three lists of a policy; `text`: the rule as it is written. */
export type RuleAt = { readonly index: number; readonly text: string }

/** `include`: the first that matches. `require`: the first that does not. `exclude`: the first that matches. */
export type Why = {
  readonly include: RuleAt | undefined
  readonly require: RuleAt | undefined
  readonly exclude: RuleAt | undefined
}

export type CompiledPolicy = {
  readonly policy: Policy
  readonly matches: (subject: Subject) => boolean
  /** as of a {@link Matcher} */
  readonly until: ((subject: Subject) => number) | undefined
  /** Rule by rule, and slow. */
  readonly why: (subject: Subject) => Why
  /** how many of its rules cannot be judged */
  readonly unread: number
}

const MAX_TEXT = 300

const combine = (matchers: readonly Matcher[], matches: Matcher['matches']): Matcher => {
  const untils = matchers.flatMap(({ until }) => until ?? [])
  if (untils.length === 0) return { matches }
  return { matches, until: (subject) => Math.min(...untils.map((until) => until(subject))) }
}

const anyOf = (matchers: readonly Matcher[]): Matcher => {
  const [only] = matchers
  if (only !== undefined && matchers.length === 1) return only
  return combine(matchers, (subject) => {
    for (const { matches } of matchers) if (matches(subject)) return true
    return false
  })
}

const allOf = (matchers: readonly Matcher[]): Matcher =>
  combine(matchers, (subject) => {
    for (const { matches } of matchers) if (!matches(subject)) return false
    return true
  })

/** undefined: not one key, or not one that we know */
const selectorOf = (rule: Rule): string | undefined => {
  if (typeof rule !== 'object' || rule === null) return undefined
  const [key, ...more] = Object.keys(rule)
  if (key === undefined || more.length > 0) return undefined
  return key === 'group' || Object.hasOwn(SELECTORS, key) ? key : undefined
}

const groupNameOf = (rule: Rule): string | undefined => {
  const argument: unknown = 'group' in rule ? rule.group : undefined
  if (typeof argument !== 'object' || argument === null || Object.keys(argument).join() !== 'id')
    return undefined
  const { id } = argument as { readonly id: unknown }
  return typeof id === 'string' ? id : undefined
}

const argumentOf = (rule: Rule): unknown => Object.values(rule)[0]

const textOf = (rule: Rule): string => JSON.stringify(rule).slice(0, MAX_TEXT)

/** @returns compiles policies that use these groups, each of which is compiled once for each sense that it is used in */
export const createRuleCompiler = (groups: readonly RuleGroup[]): ((policy: Policy) => CompiledPolicy) => {
  const byName = new Map(groups.map((group) => [group.name, group]))
  const compiled = new Map<string, Judged>()

  /** undefined: there is none of that name */
  const judgeGroup = (rule: Rule, sense: Sense): Judged | undefined => {
    const group = byName.get(groupNameOf(rule) ?? '')
    if (group === undefined) return undefined
    const key = `${sense.possible} ${sense.unshown} ${group.name}`
    const judged = compiled.get(key) ?? judgeRules(group, sense, true)
    compiled.set(key, judged)
    return judged
  }

  /** @param inGroup a group cannot hold another one */
  const judgeAny = (rules: readonly Rule[], sense: Sense, inGroup: boolean): Judged => {
    const matchers: Matcher[] = []
    let unread = 0
    let unreadInGroups = 0
    const add = (judged: Judged | undefined): void => {
      if (judged === undefined) unread += 1
      else {
        unreadInGroups += judged.unread
        matchers.push(judged.matcher)
      }
    }
    for (const [selector, some] of Map.groupBy(rules, selectorOf)) {
      if (selector === undefined) unread += some.length
      else if (selector === 'group')
        for (const rule of Map.groupBy(some, groupNameOf).values())
          add(inGroup ? undefined : judgeGroup(rule[0] as Rule, sense))
      else {
        const { ofCertificate, unknown, any } = SELECTORS[selector as keyof typeof SELECTORS]
        const { matcher, unread: notRead } = any(some.map(argumentOf))
        unread += notRead
        if (matcher !== undefined) matchers.push(matcher)
        if (unknown !== undefined && sense.possible) matchers.push({ matches: unknown })
        if (ofCertificate && sense.unshown && sense.possible)
          matchers.push({ matches: ({ certificate }) => certificate === undefined })
      }
    }
    if (unread > 0 && sense.possible) matchers.push({ matches: () => true })
    return { matcher: anyOf(matchers), unread: unread + unreadInGroups }
  }

  const judgeRules = ({ include, require, exclude }: Rules, sense: Sense, inGroup: boolean): Judged => {
    const included = judgeAny(include, sense, inGroup)
    if (require.length === 0 && exclude.length === 0) return included
    const required = require.map((rule) => judgeAny([rule], sense, inGroup))
    const excluded = judgeAny(exclude, opposite(sense), inGroup)
    const all = allOf(required.map(({ matcher }) => matcher))
    return {
      matcher: combine(
        [included.matcher, all, excluded.matcher],
        (subject) =>
          included.matcher.matches(subject) && all.matches(subject) && !excluded.matcher.matches(subject),
      ),
      unread: [included, ...required, excluded].reduce((sum, { unread }) => sum + unread, 0),
    }
  }

  return (policy) => {
    const sense: Sense = { possible: policy.decision === 'deny', unshown: policy.decision === 'bypass' }
    const { matcher, unread } = judgeRules(policy, sense, false)
    const find = (
      rules: readonly Rule[],
      of: Sense,
      wanted: boolean,
      subject: Subject,
    ): RuleAt | undefined => {
      const index = rules.findIndex((rule) => judgeAny([rule], of, false).matcher.matches(subject) === wanted)
      return index === -1 ? undefined : { index, text: textOf(rules[index] as Rule) }
    }
    return {
      policy,
      matches: matcher.matches,
      until: matcher.until,
      unread,
      why: (subject) => ({
        include: find(policy.include, sense, true, subject),
        require: find(policy.require, sense, false, subject),
        exclude: find(policy.exclude, opposite(sense), true, subject),
      }),
    }
  }
}
