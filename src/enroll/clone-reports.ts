/**
 * USE CASE: the gateway has seen two live connections take a ClientID from each other. Its word is the exposed desk's: it can make a device less
 * trusted, as its group says (`on_clone`), and nothing else; of a certificate that is good at this desk; and of so many devices an hour. Not the
 * reading of the inbox: inbox.ts.
 */

import { isStanding } from '#fleet/certificate.ts'
import { HOUR, type Clock } from '#fleet/clock.ts'
import { GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import type { LiveStatus, Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { Alert } from './alerts.ts'
import { tellSuspicion, unasked } from './suspect-clone.ts'

/** Devices an hour. More than that are no copies: it is the gateway that lies, and a fleet is not suspended at its word. */
const MOST_AN_HOUR = 100

/** Fingerprints, 64 hex. */
export type CloneReports = (fingerprints: readonly string[]) => Promise<void>

const isGood = (status: LiveStatus | undefined, now: number): status is LiveStatus =>
  status !== undefined &&
  status.certificateState === 'live' &&
  status.deviceState === 'active' &&
  now <= status.notAfter &&
  isStanding(status.issuerState)

export const createCloneReports = (deps: {
  readonly registry: Registry
  readonly clock: Clock
  readonly alert: Alert
  readonly log: Log
  /** devices an hour; for tests */
  readonly most?: number
}): CloneReports => {
  const { registry, clock, log, most = MOST_AN_HOUR } = deps
  let hourEnds = -Infinity
  let told = 0
  let warned = false

  const mayTell = (): boolean => {
    const now = clock()
    // a clock that was set back does not make an hour longer than one
    if (now >= hourEnds || now < hourEnds - HOUR) {
      hourEnds = now + HOUR
      told = 0
      warned = false
    }
    if (told < most) return true
    if (!warned)
      log.warn(
        { most },
        'the gateway tells of more copied devices than an hour brings: the others are passed over, look at the gateway',
      )
    warned = true
    return false
  }

  return async (fingerprints) => {
    for (const fingerprint of new Set(fingerprints)) {
      const status = registry.status(fingerprint)
      if (!isGood(status, clock())) continue
      if (!mayTell()) return
      const group = unasked(registry.groups().get(status.group) ?? GROUP_DEFAULTS)
      const { deviceId } = status
      if (await tellSuspicion(deps, { deviceId, fingerprint, sign: 'takeovers' }, group)) told += 1
    }
  }
}
