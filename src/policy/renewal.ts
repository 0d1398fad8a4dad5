/**
 * VERDICTS on renewal: may the holder of this certificate have the next one, and when should it ask.
 * Not admission to an application: a device without any policy may still renew.
 */

import {
  isStanding,
  type CertificateFacts,
  type CertificateState,
  type IssuerRecord,
} from '#fleet/certificate.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { BACKDATE, type Validity } from './enrollment.ts'
import { judgeClientLeaf } from './keys.ts'

/** What the registry has on the presented certificate, by its fingerprint. */
export type RenewalRecord = {
  readonly certificateState: Exclude<CertificateState, 'intended'>
  readonly deviceState: DeviceState
  readonly issuerState: IssuerRecord['state']
  readonly notBefore: number
  readonly notAfter: number
}

const DEVICE_REFUSALS: Readonly<Record<DeviceState, ErrorCode | undefined>> = {
  registered: undefined,
  active: undefined,
  suspended: 'device_suspended',
  revoked: 'device_revoked',
  retired: 'device_retired',
}

/**
 * `leaf`: undefined when no certificate was presented. `trusted`: OpenSSL's verdict against our own chain.
 * `record`: undefined when the fingerprint is not on record.
 *
 * OpenSSL reports its last error only, so "expired" is never read from it: a fingerprint on record is the very certificate we
 * signed, and its dates are our own; one that is not on record is forged or foreign, however it calls itself.
 */
export const judgeRenewal = (o: {
  readonly resumed: boolean
  readonly leaf: CertificateFacts | undefined
  readonly trusted: boolean
  readonly record: RenewalRecord | undefined
  readonly now: number
}): ErrorCode | undefined => {
  if (o.resumed) return 'session_resumed'
  if (o.leaf === undefined) return 'certificate_required'
  if (o.record === undefined) return o.trusted ? 'certificate_unknown' : 'certificate_untrusted'
  if (o.record.certificateState === 'revoked') {
    // The device's state says more than its certificate's: a revoked device has only revoked certificates.
    return DEVICE_REFUSALS[o.record.deviceState] ?? 'certificate_revoked'
  }
  if (!isStanding(o.record.issuerState)) return 'issuer_revoked'
  if (o.now > o.record.notAfter) return 'certificate_expired'
  if (o.now < o.record.notBefore) return 'certificate_not_yet_valid'
  if (!o.trusted) return 'certificate_untrusted'
  return judgeClientLeaf(o.leaf) ?? DEVICE_REFUSALS[o.record.deviceState]
}

/** 32 bits of the serial, as a share of one: as random as the serial is, and the same whenever it is asked. */
const shareOf = (serial: string): number => Number.parseInt(serial.slice(-8), 16) / 2 ** 32

/**
 * When a certificate is to be renewed: its own moment in the group's window, so that a fleet enrolled on one day does not come back on
 * one day. The window is counted from when it was made, and not from its backdated beginning.
 * @param window shares of the life, from 0 to 1
 * @param serial hex; the jitter
 * @returns ms since the epoch
 */
export const renewalMoment = (
  { notBefore, notAfter }: Validity,
  window: { readonly from: number; readonly to: number },
  serial: string,
): number => {
  const made = notBefore + BACKDATE
  const share = window.from + (window.to - window.from) * shareOf(serial)
  return Math.floor(made + Math.max(0, notAfter - made) * share)
}
