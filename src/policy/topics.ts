/**
 * Which topics an identity may use: rules with templates against one topic name or filter. Pure.
 * Not the grammar of topics, which is #wire/topics.ts, and not who the identity is.
 */

import type { TopicAct, TopicRule } from '#fleet/access.ts'
import { isOwnTopic, isTopicFilter, levelsCover } from '#wire/topics.ts'
import type { Identity } from './decision.ts'

/** What holds for a device when an application names no topics. */
export const DEFAULT_TOPICS: readonly TopicRule[] = [
  { filter: 'devices/${device.id}/#', acts: ['publish', 'subscribe', 'receive'] },
  { filter: 'fleet/broadcast/#', acts: ['subscribe', 'receive'] },
]

/** And for a certificate of a foreign anchor: its own prefix, and nothing of the fleet's. */
const FOREIGN_TOPICS: readonly TopicRule[] = [
  { filter: 'foreign/${foreign.anchor}/${foreign.name}/#', acts: ['publish', 'subscribe', 'receive'] },
]

type Value = (identity: Identity) => string | undefined

/**
 * Certificates of ours name the device in CN and SAN (#pki/profile.ts), and only the fingerprint made this one the device. What a foreign
 * certificate calls itself is under `foreign.` alone: whoever runs that CA could put any device's name there.
 */
const VALUES: Readonly<Record<string, Value>> = {
  'device.id': (who) => (who.kind === 'device' ? who.id : undefined),
  'device.group': (who) => (who.kind === 'device' ? who.group : undefined),
  'cert.common_name': (who) => (who.kind === 'device' ? who.id : undefined),
  'cert.san_uri': (who) => (who.kind === 'device' ? `urn:sallyport:device:${who.id}` : undefined),
  'foreign.anchor': (who) => (who.kind === 'foreign' ? who.anchor : undefined),
  'foreign.name': (who) => (who.kind === 'foreign' ? who.name : undefined),
}

const TAG = 'device.tags.'

const valueOf = (name: string, identity: Identity): string | undefined => {
  if (name.startsWith(TAG)) {
    const key = name.slice(TAG.length)
    return identity.kind === 'device' && Object.hasOwn(identity.tags, key) ? identity.tags[key] : undefined
  }
  return Object.hasOwn(VALUES, name) ? VALUES[name]?.(identity) : undefined
}

/** A value must be one ordinary level of a topic, or part of one: anything else could climb out of its place, so it is not used at all. */
// eslint-disable-next-line no-control-regex
const unusable = /[/+#$\u0000-\u001f\u007f-\u009f]/
const usable = (value: string | undefined): value is string =>
  value !== undefined && value !== '' && !unusable.test(value)

const template = /\$\{([^{}]*)\}/g

/** @returns the filter for this identity, or undefined when a template has no usable value: the rule then gives nothing. */
export const expandFilter = (filter: string, identity: Identity): string | undefined => {
  let whole = true
  const text = filter.replace(template, (_, name: string) => {
    const value = valueOf(name, identity)
    if (usable(value)) return value
    whole = false
    return ''
  })
  return whole && isTopicFilter(text) ? text : undefined
}

export type MayUse = (act: TopicAct, topic: string) => boolean

type Levels = readonly string[]

/** Of each rule the whole levels before its first template or wildcard. */
const heads = new WeakMap<TopicRule, string>()

const headOf = (rule: TopicRule): string => {
  const known = heads.get(rule)
  if (known !== undefined) return known
  const [fixed = ''] = rule.filter.split(/\$\{|[+#]/, 1)
  const head = fixed === rule.filter ? fixed : fixed.slice(0, Math.max(fixed.lastIndexOf('/'), 0))
  heads.set(rule, head)
  return head
}

/** Of one identity, each rule filled in when a topic first begins as it does: an application may have a thousand, and all are judged anew with every change. */
class OwnTopics {
  readonly #rules: readonly TopicRule[]
  readonly #identity: Identity
  /** by rule; null: it gives nothing */
  readonly #filled: (Levels | null | undefined)[] = []

  constructor(rules: readonly TopicRule[], identity: Identity) {
    this.#rules = rules
    this.#identity = identity
  }

  #levels(at: number, { filter }: TopicRule): Levels | null {
    const known = this.#filled[at]
    if (known !== undefined) return known
    const levels = expandFilter(filter, this.#identity)?.split('/') ?? null
    this.#filled[at] = levels
    return levels
  }

  covers(act: TopicAct, topic: string): boolean {
    if (isOwnTopic(topic)) return false
    const narrows = topic.split('/')
    for (let at = 0; at < this.#rules.length; at += 1) {
      const rule = this.#rules[at] as TopicRule
      if (!rule.acts.includes(act) || !topic.startsWith(headOf(rule))) continue
      const levels = this.#levels(at, rule)
      if (levels !== null && levelsCover(levels, narrows)) return true
    }
    return false
  }
}

/**
 * Templates are filled in once, topics asked often.
 * @param rules an application's; empty means the defaults
 * @returns of a topic name; for `subscribe` a filter, without `$share/<group>/`. Never of the door's own topics
 */
export const topicsOf = (rules: readonly TopicRule[], identity: Identity): MayUse => {
  const defaults = identity.kind === 'device' ? DEFAULT_TOPICS : FOREIGN_TOPICS
  const own = new OwnTopics(rules.length === 0 ? defaults : rules, identity)
  return (act, topic) => own.covers(act, topic)
}
