/**
 * So many per minute of one key, with a minute's worth at once: new connections of an address, requests of a certificate. In memory,
 * bounded. Not how many at the same time: https/shares.ts and crowd.ts.
 */

import { MINUTE, type Clock } from '#fleet/clock.ts'

/** Keys remembered, about 10 MB at most. */
const MOST = 65_536
/** When all of them are in use, this part of those seen first is forgotten. */
const PART = 8

export type Rates = {
  /** @returns 0: it may, and is counted; else ms until it may */
  take(key: string): number
}

/**
 * A token bucket, kept as the one moment at which it will be full again (the generic cell rate algorithm of ITU-T I.371).
 * @param o.most keys remembered
 */
export const createRates = (o: {
  readonly perMinute: number
  readonly clock: Clock
  readonly most?: number
}): Rates => {
  const most = o.most ?? MOST
  const step = MINUTE / o.perMinute
  const fullAt = new Map<string, number>()

  const makeRoom = (now: number): void => {
    for (const [key, at] of fullAt) if (at <= now) fullAt.delete(key)
    let left = fullAt.size < most ? 0 : Math.ceil(most / PART)
    for (const key of fullAt.keys()) {
      if (left === 0) break
      fullAt.delete(key)
      left -= 1
    }
  }

  return {
    take: (key) => {
      const now = o.clock()
      const before = fullAt.get(key)
      // a clock that was set back locks nobody out for longer than a minute
      if (before !== undefined && before > now + MINUTE) fullAt.set(key, now + MINUTE)
      const next = Math.min(Math.max(before ?? now, now), now + MINUTE) + step
      const wait = next - now - MINUTE
      if (wait > 0) return wait
      if (before === undefined && fullAt.size >= most) makeRoom(now)
      fullAt.set(key, next)
      return 0
    },
  }
}
