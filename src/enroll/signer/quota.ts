/**
 * Certificates in a clock hour, counted by the signer itself, so that whoever has the desk does not have as many as they like. Not the
 * quotas of groups, which the registry counts.
 */

import { HOUR, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'

export type Counted = { readonly hour: number; readonly count: number }

export const hourOf = (at: number): number => Math.floor(at / HOUR)

export type Quota = {
  /** One certificate more. @returns gives it back, for one that could not be made. @throws quota_exceeded, with retryAfter */
  take(): () => void
}

/**
 * @param o.most in a clock hour; undefined: as many as are asked for
 * @param o.counted what the log says of the hour that it ends in
 */
export const createQuota = (o: {
  readonly most: number | undefined
  readonly counted: Counted
  readonly clock: Clock
}): Quota => {
  let { hour, count } = o.counted
  return {
    take() {
      const now = o.clock()
      // a clock that is set back does not begin another hour
      if (hourOf(now) > hour) [hour, count] = [hourOf(now), 0]
      if (o.most !== undefined && count >= o.most)
        throw new FleetError('quota_exceeded', `the signer signs ${o.most} certificates an hour at most`, {
          retryAfter: Math.max(1, Math.ceil(((hour + 1) * HOUR - now) / SECOND)),
        })
      count += 1
      const taken = hour
      return () => {
        if (taken === hour) count -= 1
      }
    },
  }
}
