/**
 * VERDICT on the leaf of a bootstrap certificate: an IDevID of a manufacturer, or a claim certificate that many devices share.
 * Not its chain and not its revocation: those are looked up by #enroll/bootstrap.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { judgeClientLeaf } from './keys.ts'

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

/**
 * As a device's leaf is judged, with one exception that a group may allow: no EKU at all (IEEE 802.1AR asks for none). One that has an
 * EKU must name clientAuth. Its dates are held against the clock here, and an expired one is never good, whatever a group's grace says.
 */
export const judgeBootstrapLeaf = (
  leaf: CertificateFacts,
  allowNoEku: boolean,
  now: number,
): ErrorCode | undefined => {
  if (now > leaf.notAfter) return 'certificate_expired'
  if (now < leaf.notBefore) return 'certificate_not_yet_valid'
  const silent = allowNoEku && leaf.extendedKeyUsage === undefined
  return judgeClientLeaf(silent ? { ...leaf, extendedKeyUsage: [CLIENT_AUTH] } : leaf)
}
