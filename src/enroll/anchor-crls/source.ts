/** One URL of an anchor: what is known of it, and when it is asked next. Not the asking: sources.ts. */

import type { AccessSnapshot, Anchor } from '#fleet/access.ts'
import { HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import type { Validators } from './fetch.ts'

/** A revocation is known to the doors after this at the latest, if its CA publishes it at once. An answer of 304 costs nothing. */
const LONGEST = HOUR
const SHORTEST = 15 * SECOND
const FIRST_RETRY = 10 * SECOND
const LAST_RETRY = 15 * MINUTE

/** ms; up to a fifth sooner, so that many do not ask at one moment. @param random from 0 to 1. @param left until the CRL ends */
export const askAgainIn = (left: number, random: number): number =>
  Math.max(SHORTEST, Math.min(LONGEST, left / 2)) * (1 - random / 5)

/** @param failures in a row, from 1 */
export const retryIn = (failures: number, random: number): number =>
  Math.min(LAST_RETRY, FIRST_RETRY * 2 ** (failures - 1)) * (1 - random / 5)

/** What is told of one. Times: ms since the epoch. `problem`: what is wrong with it now, in words. */
export type SourceState = {
  readonly url: string
  readonly fetchedAt: number | undefined
  readonly failingSince: number | undefined
  readonly problem: string | undefined
}

/** `due`: on the monotonic clock. `ca`: whose CRL it gave. */
export type Source = {
  anchor: Anchor
  readonly url: string
  due: number
  failures: number
  underway: boolean
  fetchedAt: number | undefined
  failingSince: number | undefined
  problem: string | undefined
  validators: Validators | undefined
  ca: string | undefined
}

export const idOf = (anchor: string, url: string): string => `${anchor} ${url}`

export const newSource = (anchor: Anchor, url: string): Source => ({
  anchor,
  url,
  due: 0,
  failures: 0,
  underway: false,
  fetchedAt: undefined,
  failingSince: undefined,
  problem: undefined,
  validators: undefined,
  ca: undefined,
})

/** Another PEM may verify what was refused: that one is asked at once. */
export const sourcesOf = (
  { anchors }: AccessSnapshot,
  before: ReadonlyMap<string, Source>,
): ReadonlyMap<string, Source> => {
  const sources = new Map<string, Source>()
  for (const anchor of anchors)
    for (const url of anchor.crl?.urls ?? []) {
      const id = idOf(anchor.name, url)
      const source = before.get(id) ?? newSource(anchor, url)
      if (source.anchor.pem !== anchor.pem) Object.assign(source, { due: 0, validators: undefined })
      source.anchor = anchor
      sources.set(id, source)
    }
  return sources
}
