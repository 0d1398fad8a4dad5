/**
 * The little DER a device needs to write: names, algorithm identifiers, things signed. Made independently of #pki on purpose,
 * so that a mistake there cannot hide itself. Not a parser: what comes back is read by node:crypto, and what EST wraps it in by pkcs7.ts.
 */

import { sign, type KeyObject } from 'node:crypto'
import forge from 'node-forge'

const { asn1 } = forge
export type Der = forge.asn1.Asn1
const { Class, Type } = asn1

const universal = (type: forge.asn1.Type, constructed: boolean, value: string | Der[]): Der =>
  asn1.create(Class.UNIVERSAL, type, constructed, value)

const binary = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

export const sequence = (...items: Der[]): Der => universal(Type.SEQUENCE, true, items)
const set = (...items: Der[]): Der => universal(Type.SET, true, items)
export const oid = (dotted: string): Der => universal(Type.OID, false, asn1.oidToDer(dotted).getBytes())
const utf8 = (text: string): Der => universal(Type.UTF8, false, binary(Buffer.from(text)))
/** content octets, as they are: the caller keeps it positive and minimal (X.690 §8.3) */
export const integer = (octets: Uint8Array): Der => universal(Type.INTEGER, false, binary(octets))
export const boolean = (value: boolean): Der => universal(Type.BOOLEAN, false, value ? '\xff' : '\0')
export const octets = (bytes: Uint8Array): Der => universal(Type.OCTETSTRING, false, binary(bytes))
export const bits = (bytes: Uint8Array, unused = 0): Der =>
  universal(Type.BITSTRING, false, String.fromCharCode(unused) + binary(bytes))
export const utcTime = (at: number): Der =>
  universal(Type.UTCTIME, false, asn1.dateToUtcTime(new Date(at)).toString())
export const explicit = (tag: number, ...items: Der[]): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, true, items)
export const implicit = (tag: number, bytes: Uint8Array): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, false, binary(bytes))

export const encode = (item: Der): Buffer => Buffer.from(asn1.toDer(item).getBytes(), 'latin1')

/** DER that exists already, such as an exported SubjectPublicKeyInfo. */
export const embed = (bytes: Uint8Array): Der => asn1.fromDer(binary(bytes))

export const commonName = (text: string): Der => sequence(set(sequence(oid('2.5.4.3'), utf8(text))))

type Signer = { readonly oid: string; readonly digest: string | null; readonly nullParameters?: true }

/** By curve or key type as node:crypto names them. RFC 5758 §3.2, RFC 8410 §3, RFC 4055 §5. */
const SIGNERS: Readonly<Record<string, Signer>> = {
  prime256v1: { oid: '1.2.840.10045.4.3.2', digest: 'sha256' },
  secp384r1: { oid: '1.2.840.10045.4.3.3', digest: 'sha384' },
  secp521r1: { oid: '1.2.840.10045.4.3.4', digest: 'sha512' },
  ed25519: { oid: '1.3.101.112', digest: null },
  rsa: { oid: '1.2.840.113549.1.1.11', digest: 'sha256', nullParameters: true },
}

const signerOf = (key: KeyObject): Signer => {
  const name = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? ''
  const signer = SIGNERS[name]
  if (signer === undefined) throw new TypeError(`no signature algorithm for a ${name} key`)
  return signer
}

export const signatureAlgorithm = (key: KeyObject): Der => {
  const { oid: dotted, nullParameters } = signerOf(key)
  return nullParameters ? sequence(oid(dotted), universal(Type.NULL, false, '')) : sequence(oid(dotted))
}

/** By the algorithm that {@link signatureAlgorithm} names: ECDSA as DER, RSA PKCS #1 v1.5, Ed25519 over the octets themselves. */
export const signatureOf = (key: KeyObject, octets: Uint8Array): Buffer =>
  sign(signerOf(key).digest, octets, key)

/** SIGNED{…} of X.509 and PKCS #10: the thing, the algorithm, the signature over the thing's DER. */
export const signed = (toBeSigned: Der, key: KeyObject): Buffer => {
  const signature = signatureOf(key, encode(toBeSigned))
  return encode(sequence(toBeSigned, signatureAlgorithm(key), bits(signature)))
}

export const pem = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${(
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  ).join('\n')}\n-----END ${label}-----\n`
