/**
 * VERDICTS on enrolment: is the claim token usable, what is the device called, how long may its certificate live. Who may have one in
 * which group: enrollment-group.ts.
 * Not the state of the moment (uses left, device and key known?): that is checked inside the registry's transaction.
 */

import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import type { ClaimToken } from '#fleet/credentials.ts'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'

/** Device clocks run behind; a certificate begins this long before it is made. */
export const BACKDATE = 5 * MINUTE

/** What a token may ask for. The issuer's remaining life caps it again when the certificate is made. */
export const CERTIFICATE_TTL_RANGE = { min: SECOND, max: 3_650 * DAY } as const

export const DEFAULT_TOKEN_LIFE = HOUR
export const TOKEN_LIFE_RANGE = { min: SECOND, max: 365 * DAY } as const

/** Whole seconds, as X.509 writes them; rounded down, so that nothing outlives what was asked. */
const wholeSeconds = (ms: number): number => Math.floor(ms / SECOND) * SECOND

/**
 * Uses left are not judged here: a spent token still answers for a key it was used with.
 * @returns undefined when it may be used
 */
export const judgeToken = (
  token: Pick<ClaimToken, 'revokedAt' | 'expiresAt'>,
  now: number,
): 'token_revoked' | 'token_expired' | undefined => {
  if (token.revokedAt !== undefined) return 'token_revoked'
  if (now >= token.expiresAt) return 'token_expired'
  return undefined
}

export type Naming = {
  /** the token's */
  readonly bound: DeviceId | undefined
  /** `device_id` of the body, or the user name of EST's Basic credential */
  readonly asked: string | undefined
  /** of the CSR */
  readonly commonName: string | undefined
}

export type Named =
  | { readonly ok: true; readonly deviceId: DeviceId }
  | {
      readonly ok: false
      readonly reason: 'device_id_invalid' | 'device_id_mismatch'
      readonly detail: string
    }

/** The token's id, else the one asked for, else the CSR's CN; places that are empty do not count, any two that disagree are refused. */
export const nameDevice = ({ bound, asked, commonName }: Naming): Named => {
  const places = [
    { place: 'the credential', id: bound },
    { place: 'the request', id: asked },
    { place: "the CSR's CN", id: commonName },
  ].filter(({ id }) => id !== undefined && id !== '')
  const first = places[0]
  if (first?.id === undefined) {
    return {
      ok: false,
      reason: 'device_id_invalid',
      detail: "no device id: neither the token, nor the request, nor the CSR's CN gives one",
    }
  }
  const other = places.find(({ id }) => id !== first.id)
  if (other !== undefined) {
    return {
      ok: false,
      reason: 'device_id_mismatch',
      detail: `${first.place} and ${other.place} name different devices`,
    }
  }
  if (!isDeviceId(first.id)) {
    return {
      ok: false,
      reason: 'device_id_invalid',
      detail: `the device id of ${first.place} must be 1 to 64 of A-Z a-z 0-9 . _ ~ : - and begin with a letter or digit`,
    }
  }
  return { ok: true, deviceId: first.id }
}

export type Validity = { readonly notBefore: number; readonly notAfter: number }

/**
 * @param ttl ms from now
 * @returns undefined when the issuer has no life left to give
 */
export const certificateValidity = (o: {
  readonly now: number
  readonly ttl: number
  readonly issuerNotAfter: number
}): Validity | undefined => {
  if (o.now >= o.issuerNotAfter) return undefined
  return {
    notBefore: wholeSeconds(o.now - BACKDATE),
    // A certificate that outlives its issuer is one nobody can verify (RFC 5280 §6.1.3).
    notAfter: wholeSeconds(Math.min(o.now + o.ttl, o.issuerNotAfter)),
  }
}

/**
 * Signing with a clock that is behind our own records would make certificates that overlap wrongly, and serials and CRLs that
 * look older than what they replace. The backdate is the skew we allow everyone, so also ourselves.
 */
export const judgeClock = (now: number, newestRecorded: number): 'clock_behind' | undefined =>
  now < newestRecorded - BACKDATE ? 'clock_behind' : undefined
