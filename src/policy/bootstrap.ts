/**
 * VERDICTS on a bootstrap certificate (an IDevID of a manufacturer, or a claim certificate that many devices share). Not on the CAs above it
 * (#pki/client-ca.ts), and not its chain and its revocation: those are looked up by #enroll/bootstrap.ts.
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

/**
 * The key of a certificate that many devices share is known to all of them: a device that had it certified would be all of them. One that
 * is good for one certificate may keep its key (IEEE 802.1AR advises against it, and a device with one key in hardware has no other).
 * @param uses how many certificates the bootstrap certificate is good for
 */
export const judgeBootstrapKey = (o: {
  readonly csrSpki: string
  readonly bootstrapSpki: string | undefined
  readonly uses: number
}): ErrorCode | undefined => (o.uses > 1 && o.csrSpki === o.bootstrapSpki ? 'key_in_use' : undefined)
