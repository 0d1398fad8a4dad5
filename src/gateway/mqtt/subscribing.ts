/**
 * One SUBSCRIBE with filters of both kinds, and the one SUBACK it gets [MQTT-3.8.4-5]: what the broker is asked, and how its answer and
 * ours become one. Not the verdicts themselves.
 */

import { SUBACK_FAILURE } from '#wire/mqtt-codes.ts'
import { isTopicFilter, stripShare } from '#wire/topics.ts'
import type { Filter } from './packets.ts'

/** Filters in one SUBSCRIBE that are looked at; those after them fail. */
export const MAX_FILTERS = 100

/**
 * `asked`: what the broker is asked, each filter once. `answer`: per filter of the client's packet, its place in `asked`, or
 * undefined: failed here.
 */
export type Plan = {
  readonly asked: readonly Filter[]
  readonly answer: readonly (number | undefined)[]
  /** the broker may have the packet, and the client the broker's answer, as they are */
  readonly whole: boolean
}

/** @param allowed of a filter without its `$share/<group>/`. @param shared does the broker know shared subscriptions? */
export const planSubscribe = (
  filters: readonly Filter[],
  shared: boolean,
  allowed: (filter: string) => boolean,
): Plan => {
  const asked: Filter[] = []
  const places = new Map<string, number>()
  const answer = filters.map(({ filter, qos }, at) => {
    const plain = stripShare(filter)
    if (at >= MAX_FILTERS || plain === undefined || (plain !== filter && !shared)) return undefined
    // `$share/g/$share/h/x` is a name no broker should be left to make sense of
    if (plain !== filter && plain.startsWith('$share/')) return undefined
    if (!isTopicFilter(plain) || !allowed(plain)) return undefined
    const known = places.get(filter)
    if (known !== undefined) {
      // as if one SUBSCRIBE after the other [MQTT-3.8.4-3, -4]: the last one stands
      asked[known] = { filter, qos }
      return known
    }
    places.set(filter, asked.length)
    return asked.push({ filter, qos }) - 1
  })
  return { asked, answer, whole: asked.length === filters.length }
}

/** @param codes the broker's, one for each that it was asked; a missing one failed */
export const mergeCodes = ({ answer }: Plan, codes: Uint8Array): number[] =>
  answer.map((place) => (place === undefined ? SUBACK_FAILURE : (codes[place] ?? SUBACK_FAILURE)))
