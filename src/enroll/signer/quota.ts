/**
 * What is signed in a clock hour, counted by the signer itself, so that whoever has the desk does not have as much as they like. Not the
 * quotas of groups, which the registry counts.
 */

import { HOUR, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'

/**
 * What is counted together: certificates of all issuers, OCSP responders and CRLs of one (`responders <ski>`). Responders have a quota of
 * their own, so that a desk that spends the certificates' goes on answering.
 */
export type Scope = 'certificates' | `responders ${string}` | `crls ${string}`
/** In one clock hour, by scope. */
export type Counts = ReadonlyMap<string, number>
export type Counted = { readonly hour: number; readonly counts: Counts }

/** One a minute: a desk makes one at each start, tries again after a minute at the latest, and needs one in half a week. */
const MOST_RESPONDERS = 60
/**
 * A desk makes one a second in the long run, and 30 more, when something is revoked all the time; the rest is for its starts. Not many more than there are seconds, or
 * numbers would run ahead of the clock.
 */
const MOST_CRLS = 4_000

/** The same certificate again, free: its answer was lost. What is asked for more often is counted like a new one, or it would fill the disk. */
const FREE_REPEATS = 3

/** @param again how often it was signed before */
export const isCounted = (again: number): boolean => again === 0 || again > FREE_REPEATS

export const hourOf = (at: number): number => Math.floor(at / HOUR)

export type Quota = {
  /** One more. @returns gives it back, for one that could not be made. @throws quota_exceeded, with retryAfter */
  take(scope: Scope): () => void
}

/**
 * @param o.certificates in a clock hour, `signer.certificates_per_hour`
 * @param o.counted what the log says of the hour that it ends in
 */
export const createQuota = (o: {
  readonly certificates: number
  readonly counted: Counted
  readonly clock: Clock
}): Quota => {
  const most = { certificates: o.certificates, responders: MOST_RESPONDERS, crls: MOST_CRLS }
  let { hour } = o.counted
  const counts = new Map(o.counted.counts)
  return {
    take(scope) {
      const now = o.clock()
      // a clock that is set back does not begin another hour
      if (hourOf(now) > hour) {
        hour = hourOf(now)
        counts.clear()
      }
      const [kind = 'certificates'] = scope.split(' ') as (keyof typeof most)[]
      const count = counts.get(scope) ?? 0
      if (count >= most[kind])
        throw new FleetError('quota_exceeded', `the signer signs ${most[kind]} ${kind} an hour at most`, {
          retryAfter: Math.max(1, Math.ceil(((hour + 1) * HOUR - now) / SECOND)),
        })
      counts.set(scope, count + 1)
      const taken = hour
      return () => {
        if (taken === hour) counts.set(scope, (counts.get(scope) ?? 1) - 1)
      }
    },
  }
}
