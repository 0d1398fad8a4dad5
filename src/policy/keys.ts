/**
 * Which keys and which client leaves are good enough, whoever signed them. Facts in, verdict out; no cryptography
 * here. Not the CAs above them (#pki/client-ca.ts), nor the chain: OpenSSL judges that, against the anchors of the hostname.
 */

import type { CertificateFacts, KeyFacts, KeyKind } from '#fleet/certificate.ts'
import type { Denial } from '#fleet/denial.ts'
import { gatewayIdIn, isGatewayUri } from '#fleet/gateway-id.ts'

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

/** Field size or modulus, in bits, smallest and largest. The upper RSA bound is work that a client could make us do. */
const STRENGTH: Readonly<Record<KeyKind, { readonly least: number; readonly most: number }>> = {
  'P-256': { least: 256, most: 256 },
  'P-384': { least: 384, most: 384 },
  'P-521': { least: 521, most: 521 },
  Ed25519: { least: 255, most: 256 },
  RSA: { least: 2_048, most: 8_192 },
}

/** SHA-2 with ECDSA (RFC 5758) or RSA PKCS #1 (RFC 4055), and Ed25519 (RFC 8410). No SHA-1, no MD5, no PSS (it defaults to SHA-1). */
const STRONG_SIGNATURES: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.3.101.112',
])

export const judgeKey = (key: KeyFacts): 'weak_key' | undefined => {
  if (key.kind === 'other') return 'weak_key'
  const { least, most } = STRENGTH[key.kind]
  return key.bits < least || key.bits > most ? 'weak_key' : undefined
}

/** RFC 5280 §4.1.2.2: a positive integer of at most 20 octets. Zero and negative ones cannot be told apart on a CRL by every reader. */
const isSaneSerial = (serial: string): boolean =>
  serial.length >= 2 && serial.length <= 40 && !/^[89a-f]/.test(serial) && !/^(?:00)+$/.test(serial)

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'

/** Does it call itself a gateway's, in whatever spelling? Such a one is nobody's at any door. */
export const namesGateway = ({ sanUris }: Pick<CertificateFacts, 'sanUris'>): boolean =>
  sanUris.some(isGatewayUri)

/** The id in a gateway's own client certificate: its only URI. undefined: it is none, or names two. */
export const gatewayIdOf = ({ sanUris }: Pick<CertificateFacts, 'sanUris'>): string | undefined => {
  const [uri = '', ...more] = sanUris
  return more.length === 0 ? gatewayIdIn(uri) : undefined
}

/** A gateway's certificate for the enroll desk: a client's and not a server's too. */
export const judgeGatewayLeaf = (leaf: CertificateFacts): Denial | undefined =>
  gatewayIdOf(leaf) === undefined || leaf.extendedKeyUsage?.includes(SERVER_AUTH) === true
    ? 'certificate_wrong_purpose'
    : judgeForm(leaf)

/**
 * What OpenSSL lets pass and a device gateway must not (facts: a CA:TRUE leaf with digitalSignature, a leaf without any EKU).
 * EKU clientAuth must be said; `anyExtendedKeyUsage` does not say it. Nor is a gateway's own certificate one of a device.
 */
export const judgeClientLeaf = (leaf: CertificateFacts): Denial | undefined =>
  namesGateway(leaf) ? 'certificate_wrong_purpose' : judgeForm(leaf)

const judgeForm = (leaf: CertificateFacts): Denial | undefined => {
  if (!isSaneSerial(leaf.serial)) return 'certificate_untrusted'
  if (leaf.isCa || leaf.keyUsage?.includes('keyCertSign') === true) return 'certificate_wrong_purpose'
  // RFC 5280 §4.2.1.3, and RFC 8446 §4.4.2.2: the key must be allowed to sign the handshake
  if (leaf.keyUsage !== undefined && !leaf.keyUsage.includes('digitalSignature'))
    return 'certificate_wrong_purpose'
  if (leaf.extendedKeyUsage?.includes(CLIENT_AUTH) !== true) return 'certificate_wrong_purpose'
  if (judgeKey(leaf.key) !== undefined || !STRONG_SIGNATURES.has(leaf.signatureAlgorithm))
    return 'certificate_weak_key'
  return undefined
}
