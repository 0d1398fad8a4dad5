/**
 * Signature algorithms, one table: what a request, a certificate or a CRL may be signed with, and how node:crypto says it.
 * SHA-1, MD5, DSA and RSASSA-PSS are not in it (PSS: its parameters default to SHA-1).
 */

import type { KeyObject } from 'node:crypto'
import type { KeyKind } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { bitStringDer, childrenOf, derOf, oidDer, oidOf, refuse, TAG, tagOf, tlv, type Node } from './der.ts'
import { keyFacts } from './keys.ts'
import { OID } from './oids.ts'

export type SignatureAlgorithm = {
  readonly oid: string
  /** for node:crypto; null: the algorithm has its own */
  readonly name: 'sha256' | 'sha384' | 'sha512' | null
  readonly keys: readonly KeyKind[]
  /** AlgorithmIdentifier */
  readonly der: Buffer
}

const EC: readonly KeyKind[] = ['P-256', 'P-384', 'P-521']
const NULL = tlv(TAG.null)

/** Parameters: absent for ECDSA (RFC 5758 §3.2) and Ed25519 (RFC 8410 §3), NULL for RSA (RFC 4055 §5). */
const row = (
  oid: string,
  name: SignatureAlgorithm['name'],
  keys: readonly KeyKind[],
  ...parameters: Buffer[]
): SignatureAlgorithm => ({ oid, name, keys, der: tlv(TAG.sequence, oidDer(oid), ...parameters) })

const ALGORITHMS: readonly SignatureAlgorithm[] = [
  row(OID.ecdsaWithSha256, 'sha256', EC),
  row(OID.ecdsaWithSha384, 'sha384', EC),
  row(OID.ecdsaWithSha512, 'sha512', EC),
  row(OID.ed25519, null, ['Ed25519']),
  row(OID.sha256WithRsa, 'sha256', ['RSA'], NULL),
  row(OID.sha384WithRsa, 'sha384', ['RSA'], NULL),
  row(OID.sha512WithRsa, 'sha512', ['RSA'], NULL),
]

const byDer = new Map(ALGORITHMS.map((algorithm) => [algorithm.der.toString('hex'), algorithm]))
const byOid = new Map(ALGORITHMS.map((algorithm) => [algorithm.oid, algorithm]))

/** The row of an AlgorithmIdentifier, parameters included. @throws bad_request */
export const digestOf = (node: Node | undefined, what: string): SignatureAlgorithm => {
  if (node === undefined || tagOf(node) !== TAG.sequence) return refuse(what, 'is missing or of another type')
  const oid = oidOf(childrenOf(node, TAG.sequence, what, { min: 1, max: 2 })[0], what)
  return byDer.get(derOf(node).toString('hex')) ?? refuse(what, `${oid} is not one that we accept`)
}

/** May a certificate below a root be signed with this one? */
export const isStrongSignature = (oid: string): boolean => byOid.has(oid)

const FOR_KEY: Readonly<Record<KeyKind, string>> = {
  'P-256': OID.ecdsaWithSha256,
  'P-384': OID.ecdsaWithSha384,
  'P-521': OID.ecdsaWithSha512,
  Ed25519: OID.ed25519,
  RSA: OID.sha256WithRsa,
}

/** What a CA key of this kind signs with. @throws issuer_unusable */
export const algorithmForKey = (publicKey: KeyObject): SignatureAlgorithm => {
  const { kind } = keyFacts(publicKey)
  const found = kind === 'other' ? undefined : byOid.get(FOR_KEY[kind])
  if (found === undefined)
    throw new FleetError('issuer_unusable', 'the CA key is of a kind that we do not sign with')
  return found
}

/** `SEQUENCE { tbs, algorithm, signature }`: a certificate, a request or a CRL. */
export const signedDer = (tbs: Uint8Array, algorithm: SignatureAlgorithm, signature: Uint8Array): Buffer =>
  tlv(TAG.sequence, tbs, algorithm.der, bitStringDer(signature))
