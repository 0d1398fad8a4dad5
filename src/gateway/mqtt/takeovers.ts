/**
 * Two living connections that take one ClientID from each other, again and again: the sign of a certificate that is in two places, with its key.
 * A connection whose network has gone and that comes back is no such sign: there the one before is dead. Not what is done about a suspicion; and
 * not those of another process, but for what a broker says of them (MQTT 5).
 */

import { MINUTE, SECOND } from '#fleet/clock.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'

/** So many within this time are a war, and no accident. */
const MANY = 4
const WITHIN = 2 * MINUTE
/** One ClientID is spoken of so often at most. */
const QUIET = MINUTE
/** ClientIDs remembered, the oldest forgotten first: more wars at once than anybody looks into. */
const MOST = 10_000

/**
 * ms that a connection which was not heard beside the newer one has for an orderly end of its own, which says that it is alive too. That it was
 * heard a moment before says nothing: so is one whose network has just gone.
 */
export const ANSWERS_WITHIN = 2 * SECOND

export type Takeovers = {
  /** A living connection has lost its ClientID to one with this certificate. */
  lost(clientId: string, by: string | undefined): void
}

type Seen = { times: number[]; quietUntil: number }

/** @param o.now ms, rising with the time that passes. @param o.suspect the certificate of the newer one of the two */
export const createTakeovers = (o: {
  readonly now: () => number
  readonly log: Log
  readonly metrics: Metrics
  readonly suspect: (fingerprint: string) => void
}): Takeovers => {
  const taken = o.metrics.counter(
    'sallyport_mqtt_live_takeovers_total',
    'ClientIDs that a living connection lost to another one',
    [],
  )
  const wars = o.metrics.counter(
    'sallyport_mqtt_clone_signals_total',
    'ClientIDs that two living connections took from each other',
    [],
  )
  const all = new Map<string, Seen>()

  return {
    lost: (clientId, by) => {
      taken.inc()
      const now = o.now()
      const seen = all.get(clientId) ?? { times: [], quietUntil: -Infinity }
      all.delete(clientId)
      all.set(clientId, seen)
      if (all.size > MOST) all.delete(all.keys().next().value as string)
      seen.times = [...seen.times.filter((at) => at > now - WITHIN), now].slice(-MANY)
      if (seen.times.length < MANY || now < seen.quietUntil) return
      seen.quietUntil = now + QUIET
      wars.inc()
      o.log.warn(
        { door: 'mqtt', client_id: clientId, fingerprint: by },
        'two connections take this ClientID from each other: is the key in two places?',
      )
      if (by !== undefined) o.suspect(by)
    },
  }
}
