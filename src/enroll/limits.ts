/**
 * Failed credentials per address: after a burst of failures the next ones from it are answered 429. One bucket per IPv4 address or
 * IPv6 /64, since a /64 is what one host can choose from at will. In memory, bounded. Not a quota on good credentials, which are never asked.
 */

import { MINUTE, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { limitKey } from '#runtime/address-key.ts'

/** Requests without any credential from one address: a few devices behind it that wait for an operator, and no more work than that. */
export const STRANGERS_PER_MINUTE = 120

/** About 2 MB at most. */
const MAX_ADDRESSES = 10_000

export interface FailureLimits {
  /** @throws FleetError `rate_limited` with retryAfter */
  check(address: string): void
  failed(address: string): void
}

/** `level`: failures not yet forgotten, as of `at` */
type Bucket = { level: number; at: number }

/** @param perMinute failures allowed in a burst, and forgiven in a minute */
export const createFailureLimits = (o: {
  readonly perMinute: number
  readonly clock: Clock
  readonly maxAddresses?: number
  /** what is said to who has to wait */
  readonly detail?: string
}): FailureLimits => {
  const buckets = new Map<string, Bucket>()
  const max = o.maxAddresses ?? MAX_ADDRESSES
  const perMs = o.perMinute / MINUTE

  const levelOf = (bucket: Bucket | undefined, now: number): number =>
    // A clock that was set back must not lock anyone out: time never counts against the address.
    bucket === undefined ? 0 : Math.max(0, bucket.level - Math.max(0, now - bucket.at) * perMs)

  const makeRoom = (now: number) => {
    for (const [key, bucket] of buckets) if (levelOf(bucket, now) === 0) buckets.delete(key)
    // Still full: forget who failed longest ago (insertion order is order of last failure).
    for (const key of buckets.keys()) {
      if (buckets.size < max) break
      buckets.delete(key)
    }
  }

  return {
    check(address) {
      if (buckets.size === 0) return
      const bucket = buckets.get(limitKey(address))
      if (bucket === undefined) return
      const excess = levelOf(bucket, o.clock()) - (o.perMinute - 1)
      if (excess <= 0) return
      const retryAfter = Math.max(1, Math.ceil(excess / perMs / 1_000))
      throw new FleetError(
        'rate_limited',
        o.detail ?? 'too many failed credentials from your address; wait',
        {
          retryAfter,
        },
      )
    },
    failed(address) {
      const now = o.clock()
      const key = limitKey(address)
      const level = Math.min(levelOf(buckets.get(key), now) + 1, o.perMinute)
      buckets.delete(key)
      if (buckets.size >= max) makeRoom(now)
      buckets.set(key, { level, at: now })
    },
  }
}
