/**
 * VERDICTS on renewal: may the holder of this certificate have the next one, with which key, and when should it ask.
 * Not admission to an application: a device without any policy may still renew. Not the state of the moment (successors, renewals of the
 * day): that is checked inside the registry's transaction.
 */

import {
  isStanding,
  type ReplacementReason,
  type CertificateFacts,
  type CertificateState,
  type IssuerState,
  type KeyFacts,
} from '#fleet/certificate.ts'
import { HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { BACKDATE, type Validity } from './enrollment.ts'
import { judgeClientLeaf } from './keys.ts'

/** What the registry has on the presented certificate, by its fingerprint. */
export type RenewalRecord = {
  readonly certificateState: Exclude<CertificateState, 'intended'>
  readonly deviceState: DeviceState
  readonly issuerState: IssuerState
  readonly notBefore: number
  readonly notAfter: number
}

/** `late`: it has expired, and may do nothing but renew. */
export type Holding =
  { readonly ok: true; readonly late: boolean } | { readonly ok: false; readonly reason: ErrorCode }

/** A device that is only registered has no certificate that anybody could present. */
const DEVICE_REFUSALS: Readonly<Record<DeviceState, ErrorCode | undefined>> = {
  registered: 'certificate_unknown',
  active: undefined,
  suspended: 'device_suspended',
  revoked: 'device_revoked',
  retired: 'device_retired',
}

const refused = (reason: ErrorCode): Holding => ({ ok: false, reason })

/** In time, too early, or too late; an expired certificate is listened to for as long as the group says. */
const judgeDates = (
  { notBefore, notAfter }: Validity,
  grace: number,
  now: number,
): 'valid' | 'late' | 'certificate_expired' | 'certificate_not_yet_valid' => {
  if (now < notBefore) return 'certificate_not_yet_valid'
  if (now <= notAfter) return 'valid'
  return now <= notAfter + grace ? 'late' : 'certificate_expired'
}

/**
 * Is it one of our devices that speaks, by a certificate which is good at this desk? `leaf`: undefined when no certificate was presented.
 * `trusted`: OpenSSL's verdict against our own chain. `record`: undefined when the fingerprint is not on record. `grace`: how long after its
 * end it is listened to, ms.
 *
 * OpenSSL reports its last error only, so "expired" is never read from it: a fingerprint on record is the very certificate that we
 * signed, and its dates are our own; one that is not on record is forged or foreign, however it calls itself. Of an expired one OpenSSL's
 * verdict is worth nothing either way: whoever acts on `late` verifies its signatures again.
 */
export const judgeHolder = (o: {
  readonly resumed: boolean
  readonly leaf: CertificateFacts | undefined
  readonly trusted: boolean
  readonly record: RenewalRecord | undefined
  readonly grace: number
  readonly now: number
}): Holding => {
  if (o.resumed) return refused('session_resumed')
  if (o.leaf === undefined) return refused('certificate_required')
  if (o.record === undefined) return refused(o.trusted ? 'certificate_unknown' : 'certificate_untrusted')
  const ofDevice = DEVICE_REFUSALS[o.record.deviceState]
  // The device's state says more than its certificate's: a revoked device has only revoked certificates.
  if (o.record.certificateState === 'revoked') return refused(ofDevice ?? 'certificate_revoked')
  if (!isStanding(o.record.issuerState)) return refused('issuer_revoked')
  const dates = judgeDates(o.record, o.grace, o.now)
  if (dates !== 'valid' && dates !== 'late') return refused(dates)
  if (dates === 'valid' && !o.trusted) return refused('certificate_untrusted')
  const fault = judgeClientLeaf(o.leaf) ?? ofDevice
  return fault === undefined ? { ok: true, late: dates === 'late' } : refused(fault)
}

/**
 * {@link judgeHolder}, and may it have a successor? A `pending` one may not: it has to show first that it works.
 * `group`: of the device; undefined: gone.
 */
export const judgeRenewal = (
  o: Omit<Parameters<typeof judgeHolder>[0], 'grace'> & {
    readonly group: Pick<EnrollmentGroup, 'enabled' | 'expiredGrace'> | undefined
  },
): Holding => {
  const holding = judgeHolder({ ...o, grace: o.group?.expiredGrace ?? 0 })
  if (!holding.ok) return holding
  if (o.group?.enabled !== true) return refused('group_disabled')
  return o.record?.certificateState === 'pending' ? refused('certificate_pending') : holding
}

/** The key that the successor is to have. An expired certificate is good for its own key or the registered one, and for no other. */
export const judgeSuccessorKey = (o: {
  readonly late: boolean
  readonly key: KeyFacts
  readonly spkiSha256: string
  readonly currentSpki: string
  readonly registeredSpki: string | undefined
  readonly group: Pick<EnrollmentGroup, 'keyKinds'>
}): ErrorCode | undefined => {
  const { kind } = o.key
  if (kind === 'other' || !o.group.keyKinds.includes(kind)) return 'key_kind_not_allowed'
  const known = o.spkiSha256 === o.currentSpki || o.spkiSha256 === o.registeredSpki
  return o.late && !known ? 'certificate_expired' : undefined
}

// ---- when

/** 32 bits of the serial, as a share of one: as random as the serial is, and the same whenever it is asked. */
const shareOf = (serial: string): number => Number.parseInt(serial.slice(-8), 16) / 2 ** 32

/** The whole window, counted from when the certificate was made and not from its backdated beginning. ms since the epoch */
export const windowOf = (
  { notBefore, notAfter }: Validity,
  { from, to }: EnrollmentGroup['renewalWindow'],
): { readonly start: number; readonly end: number } => {
  const made = notBefore + BACKDATE
  const life = Math.max(0, notAfter - made)
  return { start: Math.floor(made + life * from), end: Math.floor(made + life * to) }
}

/**
 * When a certificate is to be renewed: its own moment in the group's window, so that a fleet enrolled on one day does not come back on
 * one day.
 * @param window shares of the life, from 0 to 1
 * @param serial hex; the jitter
 * @returns ms since the epoch
 */
export const renewalMoment = (
  validity: Validity,
  window: EnrollmentGroup['renewalWindow'],
  serial: string,
): number => {
  const { start, end } = windowOf(validity, window)
  return Math.floor(start + (end - start) * shareOf(serial))
}

/** Times are ms since the epoch; `retryAfter`: seconds until the question may have another answer. */
export type RenewalAdvice = {
  readonly start: number
  readonly end: number
  readonly renewAfter: number
  readonly retryAfter: number
  readonly reason: ReplacementReason | undefined
}

/** RFC 9773 §4.3.2 has clients ask every six hours; a short life is asked about more often. */
const ASK_AGAIN = 6 * HOUR
const LEAST = MINUTE

/** What `now` means for devices that all hear it at once: they come over this long, each at its own moment. */
const SPREAD = 10 * MINUTE

const replacement = (o: Parameters<typeof adviseRenewal>[0]): ReplacementReason | undefined => {
  if (o.late) return 'certificate_expired'
  if (o.keyCompromised) return 'key_compromised'
  const { kind } = o.key
  if (kind === 'other' || !o.group.keyKinds.includes(kind)) return 'key_kind_not_allowed'
  return o.issuerState === 'retiring' ? 'issuer_retiring' : undefined
}

/**
 * When the holder of a certificate should renew it, by what the group says today; now, when it has to be replaced.
 * @param o.serial hex; the jitter
 */
export const adviseRenewal = (o: {
  readonly validity: Validity
  readonly serial: string
  readonly key: KeyFacts
  readonly keyCompromised: boolean
  readonly issuerState: IssuerState
  readonly late: boolean
  readonly group: Pick<EnrollmentGroup, 'renewalWindow' | 'keyKinds'>
  readonly now: number
}): RenewalAdvice => {
  const { now, validity, serial } = o
  const reason = replacement(o)
  if (reason !== undefined) {
    // the end is a bound for clients that choose a moment by themselves; ours is told to come now
    const end = Math.max(now + SECOND, Math.min(now + SPREAD, validity.notAfter))
    return { start: now, end, renewAfter: now, retryAfter: LEAST / SECOND, reason }
  }
  const renewAfter = renewalMoment(validity, o.group.renewalWindow, serial)
  const wait = Math.min(ASK_AGAIN, Math.max(LEAST, (renewAfter - now) / 2))
  return {
    ...windowOf(validity, o.group.renewalWindow),
    renewAfter,
    retryAfter: Math.ceil(wait / SECOND),
    reason,
  }
}
