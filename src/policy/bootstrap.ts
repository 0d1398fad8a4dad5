/**
 * VERDICTS on a bootstrap certificate (an IDevID of a manufacturer, or a claim certificate that many devices share) and on the CAs above
 * it. Not its chain and not its revocation: those are looked up by #enroll/bootstrap.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { judgeClientLeaf } from './keys.ts'

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const ANY_EKU = '2.5.29.37.0'

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
 * A CA of such a chain, the anchor too. One that its maker has narrowed is not taken for one that may name devices: an EKU without clientAuth
 * (as OpenSSL reads it in a CA), or names that it may give, which nobody here holds the leaf against (RFC 5280 §4.2.1.10). Critical or not.
 * @returns what is wrong with it
 */
export const judgeBootstrapCa = (
  extendedKeyUsage: readonly string[] | undefined,
  constrainsNames: boolean,
): string | undefined => {
  if (constrainsNames) return 'has name constraints, which are not understood here'
  if (extendedKeyUsage === undefined) return undefined
  return extendedKeyUsage.includes(CLIENT_AUTH) || extendedKeyUsage.includes(ANY_EKU)
    ? undefined
    : 'may not issue client certificates, by its extended key usage'
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
