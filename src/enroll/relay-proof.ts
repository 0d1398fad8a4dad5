/**
 * That the device itself has asked for exactly this: its signature, by the key of the certificate that it has shown to a gateway, over
 *
 *   SHA-256(CSR in DER) ‖ nonce ‖ group      all octets; the nonce as decoded, the group's name in UTF-8 and only when one is named
 *
 * ECDSA with SHA-256, SHA-384 or SHA-512 for P-256, P-384 and P-521, as DER; Ed25519; RSA PKCS #1 v1.5 with SHA-256. Without it a gateway
 * could have its own key certified. Nothing else that a device signs begins so: docs/mqtt-enrollment.md.
 */

import { hash, verify, X509Certificate } from 'node:crypto'
import type { CertificateFacts, KeyKind } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { fromBase64 } from '#pki/pem.ts'
import { judgeKey } from '#policy/keys.ts'

/** What OpenSSL calls the digest; null: the algorithm has its own. */
const DIGESTS: Readonly<Record<KeyKind, string | null>> = {
  'P-256': 'sha256',
  'P-384': 'sha384',
  'P-521': 'sha512',
  Ed25519: null,
  RSA: 'sha256',
}

/** @param group that the request names; undefined: none */
export const signedOctets = (csr: Uint8Array, nonce: Uint8Array, group: string | undefined): Buffer =>
  Buffer.concat([hash('sha256', csr, 'buffer'), nonce, Buffer.from(group ?? '')])

const isSigned = ({ key, der }: CertificateFacts, octets: Uint8Array, signature: Uint8Array): boolean => {
  if (key.kind === 'other') return false
  try {
    return verify(DIGESTS[key.kind], octets, new X509Certificate(der).publicKey, signature)
  } catch {
    // a key that is no point of its curve
    return false
  }
}

/**
 * @param o.leaf of the device, as the gateway shows it: nothing is known of it yet
 * @param o.csr DER
 * @param o.nonce its octets; verified before
 * @param o.signature base64
 * @throws `token_invalid`: it is none, or over something else, or by another key; `certificate_weak_key`
 */
export const checkProof = (o: {
  readonly leaf: CertificateFacts
  readonly csr: Uint8Array
  readonly nonce: Uint8Array
  readonly group: string | undefined
  readonly signature: string
}): void => {
  // before anything is verified with it: a gateway chooses what it shows
  if (judgeKey(o.leaf.key) !== undefined)
    throw new FleetError(
      'certificate_weak_key',
      'the key of the certificate is too weak, or of no kind known here',
    )
  const signature = fromBase64(o.signature)
  if (signature === undefined || !isSigned(o.leaf, signedOctets(o.csr, o.nonce, o.group), signature))
    throw new FleetError(
      'token_invalid',
      'the signature is not one by the key of the certificate over this CSR and this nonce',
    )
}
