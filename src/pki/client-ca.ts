/**
 * Is a CA one that may stand above client certificates? One that its maker has narrowed is not: by an EKU without clientAuth, or by names
 * that it may give, which nobody here holds a leaf against (RFC 5280 §4.2.1.10). Critical or not; an anchor too. The same words for the
 * doors, for the enroll desk, and for who makes or opens an issuer. Not its chain: chain.ts. Not leaves: #policy.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { extensionsOf } from './certificate.ts'
import { OID } from './oids.ts'

/** @param purposes one of these its EKU must name, when it has one */
const judge = (
  { der, extendedKeyUsage }: CertificateFacts,
  purposes: readonly string[],
): string | undefined => {
  if (extensionsOf(der).has(OID.nameConstraints)) return 'has name constraints, which are not understood here'
  return extendedKeyUsage === undefined || purposes.some((oid) => extendedKeyUsage.includes(oid))
    ? undefined
    : 'may not issue client certificates: its extended key usage does not name clientAuth'
}

/**
 * As a door's handshake has it, so also for an issuer of ours: OpenSSL does not read `anyExtendedKeyUsage` alone as clientAuth.
 * @returns what is wrong with it
 */
export const judgeClientCa = (ca: CertificateFacts): string | undefined => judge(ca, [OID.clientAuth])

/**
 * Where nobody waits for OpenSSL's verdict (a bootstrap certificate, a gateway's own): `anyExtendedKeyUsage` is clientAuth too (RFC 5280
 * §4.2.1.12), for manufacturers write it.
 * @returns what is wrong with it
 */
export const judgeBootstrapCa = (ca: CertificateFacts): string | undefined =>
  judge(ca, [OID.clientAuth, OID.anyExtendedKeyUsage])
