/** How the parts of the registry contract ask for certificates, by what, and again. Not what comes of it. */

import { DAY } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Reservation } from '#registry/registry.ts'
import { ACTOR, freshHex, givenToken, NOW, recordReserved, reservation } from '../../support/registry.ts'
import type { Ground } from './ground.ts'

export const renewal = (id: DeviceId, fingerprint: string, over: Partial<Reservation> = {}): Reservation =>
  reservation({ kind: 'renewal', fingerprint, late: false }, { deviceId: id, ...over })

/** The same use, as it would be asked for once more. */
export const again = (asked: Reservation, over: Partial<Reservation> = {}): Reservation => ({
  ...asked,
  serial: freshHex(16),
  ...over,
})

export const createAsking = (at: Ground) => {
  /** Reserved and recorded. */
  const enrolled = async (asked: Reservation, now = asked.now) => {
    const { certificate } = await at.registry.reserve(asked)
    const record = await recordReserved(at.registry, certificate.serial, now)
    return { ...record, fingerprint: record.fingerprint as string }
  }
  return {
    enrolled,
    confirmed: async (asked: Reservation) => {
      const next = await enrolled(asked)
      await at.registry.confirmCertificate(next.fingerprint, asked.now, ACTOR)
      return next
    },
    /** By a new token that is bound to this id. */
    byToken: async (id: DeviceId, over: Partial<Reservation> = {}): Promise<Reservation> => {
      const token = await givenToken(at.registry, { deviceId: id, expiresAt: NOW + 90 * DAY })
      return reservation({ kind: 'token', id: token.id }, { deviceId: id, ...over })
    },
    endIssuer: (ski: string) =>
      at.registry.moveIssuer({ ski, from: ['active'], to: 'revoked', now: NOW, actor: ACTOR }),
  }
}
