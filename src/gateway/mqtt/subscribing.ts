/**
 * SUBSCRIBE and UNSUBSCRIBE of one connection: what the broker is asked of a packet with filters of both kinds, how its answer and ours become the
 * one that the client gets [MQTT-3.8.4-5; MQTT 5: MQTT-3.8.4-6], and how many subscriptions there are. Not the verdicts themselves.
 */

import { MQTT_CODES, REASON, SUBACK_FAILURE, type MqttReason } from '#wire/mqtt-codes.ts'
import { isOwnTopic, isTopicFilter, stripShare } from '#wire/topics.ts'
import type { Level } from './packets.ts'
import type { Filter } from './subscribe-packets.ts'
import { NO } from './windows.ts'

/** Filters in one SUBSCRIBE that are looked at; those after them fail. */
export const MAX_FILTERS = 100

/** Filters in packets that the broker has not answered yet, what is not asked of it included: the answer to that is kept too. */
const MAX_ASKED = 10_000

/** Of one connection. What a resumed session holds beside it is not known. */
export class Subscriptions {
  readonly #most: number
  #filters: Set<string> | undefined

  constructor(most: number) {
    this.#most = most
  }

  /** @param filter with its `$share/<group>/`: that is a subscription of its own */
  add(filter: string): 'new' | 'known' | 'full' {
    this.#filters ??= new Set()
    if (this.#filters.has(filter)) return 'known'
    if (this.#filters.size >= this.#most) return 'full'
    this.#filters.add(filter)
    return 'new'
  }

  delete(filter: string): void {
    this.#filters?.delete(filter)
  }

  /** @param most of them at most */
  *some(most: number): Generator<string> {
    let left = most
    for (const filter of this.#filters ?? []) {
      if (left-- === 0) return
      yield filter
    }
  }
}

/** What the client is told of one of its filters: what the broker says of one that it was asked, or a code from here. */
type Answer = { readonly place: number } | { readonly code: number }

/** `asked`: of the broker, each filter once. `answers`: for each filter of the client's packet. */
export type Plan = {
  readonly asked: readonly Filter[]
  readonly answers: readonly Answer[]
  /** the broker may have the packet, and the client the broker's answer, as they are */
  readonly whole: boolean
  /** of `asked`, those that were not subscribed to before */
  readonly fresh: ReadonlySet<string>
}

/** What a plan is made by. */
export type Planner = {
  readonly level: Level
  /** does the broker know shared subscriptions? */
  readonly shared: boolean
  readonly subscriptions: Subscriptions
  /** of a filter without its `$share/<group>/` */
  verdict(filter: string): 'allowed' | MqttReason
  /** may the door itself be subscribed to by this filter? */
  grants(filter: string): boolean
  /** @param judged admission has said it, and recorded it */
  denied(reason: MqttReason, filter: string, judged: boolean): void
}

type Failure = { readonly reason: MqttReason; readonly code?: number; readonly judged?: boolean }

const failureCode = (level: Level, { reason, code }: Failure): number =>
  level === 5 ? (code ?? MQTT_CODES[reason].suback5) : SUBACK_FAILURE

/** Why it cannot be, before anybody is asked whether it may be. @param plain without its `$share/<group>/` */
const formFailure = (filter: string, plain: string | undefined, shared: boolean): Failure | undefined => {
  // `$share/g/$share/h/x` is a name no broker should be left to make sense of
  if (plain === undefined || (plain !== filter && plain.startsWith('$share/')) || !isTopicFilter(plain))
    return { reason: 'bad_request' }
  // its levels and bytes count as they are sent
  if (plain !== filter && !isTopicFilter(filter)) return { reason: 'bad_request' }
  return plain !== filter && !shared
    ? { reason: 'unsupported', code: REASON.sharedSubscriptionsNotSupported }
    : undefined
}

export const planSubscribe = (filters: readonly Filter[], by: Planner): Plan => {
  const asked: Filter[] = []
  const places = new Map<string, number>()
  const fresh = new Set<string>()

  const failure = (filter: string): Failure | undefined => {
    const plain = stripShare(filter)
    const malformed = formFailure(filter, plain, by.shared)
    if (malformed !== undefined) return malformed
    const verdict = by.verdict(plain as string)
    if (verdict !== 'allowed') return { reason: verdict, judged: true }
    const added = by.subscriptions.add(filter)
    if (added === 'new') fresh.add(filter)
    return added === 'full' ? { reason: 'quota_exceeded' } : undefined
  }

  const answers = filters.map((each, at): Answer => {
    const { filter } = each
    if (isOwnTopic(filter) && by.grants(filter)) return { code: 0 }
    const known = places.get(filter)
    if (known !== undefined) {
      // as if one SUBSCRIBE after the other [MQTT-3.8.4-3, -4]: the last one stands
      asked[known] = each
      return { place: known }
    }
    const failed = at < MAX_FILTERS ? failure(filter) : ({ reason: 'quota_exceeded' } as const)
    if (failed !== undefined) {
      by.denied(failed.reason, filter, failed.judged === true)
      return { code: failureCode(by.level, failed) }
    }
    places.set(filter, asked.length)
    return { place: asked.push(each) - 1 }
  })
  return { asked, answers, fresh, whole: asked.length === filters.length }
}

/** @param codes the broker's, one for each that it was asked; a missing one failed */
export const mergeCodes = ({ answers }: Pick<Plan, 'answers'>, codes: readonly number[]): number[] =>
  answers.map((answer) => ('code' in answer ? answer.code : (codes[answer.place] ?? SUBACK_FAILURE)))

/** What the broker has not granted is not subscribed to. */
export const giveBack = (
  { asked, fresh }: Plan,
  codes: readonly number[],
  subscriptions: Subscriptions,
): void => {
  for (const [at, { filter }] of asked.entries()) {
    if (fresh.has(filter) && (codes[at] ?? SUBACK_FAILURE) >= NO) subscriptions.delete(filter)
  }
}

export type Parting = { readonly asked: readonly string[]; readonly answers: readonly Answer[] }

/** UNSUBSCRIBE. What is the door's own is not the broker's. @param forget was it subscribed to? */
export const planUnsubscribe = (filters: readonly string[], forget: (filter: string) => boolean): Parting => {
  const asked: string[] = []
  const answers = filters.map((filter): Answer => {
    if (isOwnTopic(filter)) return { code: forget(filter) ? REASON.success : REASON.noSubscriptionExisted }
    return { place: asked.push(filter) - 1 }
  })
  return { asked, answers }
}

/** What the broker has been asked and not answered, by packet id. */
export class Questions {
  /** the client's UNSUBSCRIBE that went on as it came, and behind which nothing of the client's is read; 0: none */
  held = 0
  #plans: Map<number, Plan> | undefined
  #partings: Map<number, Parting['answers']> | undefined
  #own: Set<number> | undefined
  #filters = 0

  /** of the client's own */
  has(id: number): boolean {
    return this.held === id || this.#plans?.has(id) === true || this.#partings?.has(id) === true
  }

  /** Has the door asked something under it by itself? */
  isOwn(id: number): boolean {
    return this.#own?.has(id) === true
  }

  /** @returns false: too much is unanswered */
  subscribe(id: number, plan: Plan): boolean {
    ;(this.#plans ??= new Map()).set(id, plan)
    return this.#count(plan.answers.length)
  }

  subscribed(id: number): Plan | undefined {
    const plan = this.#plans?.get(id)
    if (plan === undefined) return undefined
    this.#plans?.delete(id)
    this.#count(-plan.answers.length)
    return plan
  }

  /** @returns false: too much is unanswered */
  unsubscribe(id: number, { answers }: Parting): boolean {
    ;(this.#partings ??= new Map()).set(id, answers)
    return this.#count(answers.length)
  }

  /** The door asks by itself, and nobody else is to hear the answer. */
  unsubscribeOwn(id: number): void {
    ;(this.#own ??= new Set()).add(id)
  }

  /** `own`: the answer is the door's */
  unsubscribed(id: number): Pick<Parting, 'answers'> | 'own' | undefined {
    if (this.#own?.delete(id) === true) return 'own'
    const answers = this.#partings?.get(id)
    if (answers === undefined) return undefined
    this.#partings?.delete(id)
    this.#count(-answers.length)
    return { answers }
  }

  #count(filters: number): boolean {
    this.#filters += filters
    return this.#filters <= MAX_ASKED
  }
}
