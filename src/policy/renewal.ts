/**
 * VERDICTS on renewal: may the holder of this certificate have the next one, and when should it ask.
 * Not admission to an application: a device without any policy may still renew.
 */

import type { CertificateFacts, CertificateState, IssuerRecord } from '#fleet/certificate.ts'
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
  if (o.record.issuerState !== 'active') return 'issuer_revoked'
  if (o.now > o.record.notAfter) return 'certificate_expired'
  if (o.now < o.record.notBefore) return 'certificate_not_yet_valid'
  if (!o.trusted) return 'certificate_untrusted'
  return judgeClientLeaf(o.leaf) ?? DEVICE_REFUSALS[o.record.deviceState]
}

/** Two thirds of the life, counted from when it was made and not from its backdated beginning. */
export const renewAfter = ({ notBefore, notAfter }: Validity): number => {
  const made = notBefore + BACKDATE
  return Math.floor(made + (Math.max(0, notAfter - made) * 2) / 3)
}
