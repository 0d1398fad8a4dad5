/** CsrAttrs (RFC 7030 §4.5.2, RFC 9908): what kind of key a request should bring. Written, never read. Not who may have which: that is a group's. */

import { KEY_KINDS, type KeyKind } from '#fleet/certificate.ts'
import { integerDer, oidDer, TAG, tlv } from './der.ts'
import { MIN_RSA_BITS } from './keys.ts'
import { OID } from './oids.ts'

const CURVES: readonly (readonly [KeyKind, string])[] = [
  ['P-256', OID.prime256v1],
  ['P-384', OID.secp384r1],
  ['P-521', OID.secp521r1],
]

const attribute = (oid: string, ...values: readonly Uint8Array[]): Buffer =>
  tlv(TAG.sequence, oidDer(oid), tlv(TAG.set, ...values))

const rsaBits = (): Buffer => integerDer(Buffer.of(MIN_RSA_BITS >> 8, MIN_RSA_BITS & 0xff))

/**
 * `{id-ecPublicKey, {curves}}`, `id-Ed25519`, `{rsaEncryption, {the least bits}}`, each where it is allowed.
 * @returns undefined: every kind will do, so nothing is asked
 */
export const csrAttributes = (kinds: readonly KeyKind[]): Uint8Array | undefined => {
  if (KEY_KINDS.every((kind) => kinds.includes(kind))) return undefined
  // X.690 §11.6: a SET OF is in ascending order
  const curves = CURVES.filter(([kind]) => kinds.includes(kind))
    .map(([, oid]) => oidDer(oid))
    .toSorted(Buffer.compare)
  return tlv(
    TAG.sequence,
    ...(curves.length === 0 ? [] : [attribute(OID.ecPublicKey, ...curves)]),
    ...(kinds.includes('Ed25519') ? [oidDer(OID.ed25519)] : []),
    ...(kinds.includes('RSA') ? [attribute(OID.rsaEncryption, rsaBits())] : []),
  )
}
