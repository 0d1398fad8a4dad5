/**
 * A certificate (RFC 5280 §4.1) → facts. Reads and refuses; verifies no signature (chain.ts) and judges nothing (#policy).
 * Everything here comes from the other side of a connection, or from a file that an operator gave.
 */

import { KEY_USAGES, type CertificateFacts, type KeyUsage } from '#fleet/certificate.ts'
import {
  booleanOf,
  childrenOf,
  constructedTag,
  contentOf,
  derOf,
  implicitTag,
  namedBitsOf,
  octetsOfBits,
  oidOf,
  readDer,
  refuse,
  smallIntegerOf,
  TAG,
  tagOf,
  timeOf,
  type Node,
} from './der.ts'
import { extensionNode, readExtensions, type Extensions } from './extensions.ts'
import { readSpki, sha256Hex } from './keys.ts'
import { commonNameOf, generalNamesOf, NO_NAMES } from './names.ts'
import { OID } from './oids.ts'
import { fromPem } from './pem.ts'

/** Strangers send these in a handshake; the largest sane one, post-quantum signature included, is about 10 KB. */
const MAX_CERTIFICATE_BYTES = 16_384

const NO_EXTENSIONS: Extensions = new Map()
const ISSUER_UNIQUE_ID = implicitTag(1)
const SUBJECT_UNIQUE_ID = implicitTag(2)

const basicConstraintsOf = (extensions: Extensions): { isCa: boolean; pathLength: number | undefined } => {
  const node = extensionNode(extensions, OID.basicConstraints, 'basic constraints')
  if (node === undefined) return { isCa: false, pathLength: undefined }
  const parts = [...childrenOf(node, TAG.sequence, 'basic constraints', { max: 2 })]
  // FALSE is the default; as with critical, some write it
  const isCa =
    parts[0] !== undefined && tagOf(parts[0]) === TAG.boolean && booleanOf(parts.shift(), 'basic constraints')
  if (parts.length > 1) refuse('basic constraints', 'has too many elements')
  return { isCa, pathLength: parts[0] === undefined ? undefined : smallIntegerOf(parts[0], 'path length') }
}

const keyUsageOf = (extensions: Extensions): readonly KeyUsage[] | undefined => {
  const node = extensionNode(extensions, OID.keyUsage, 'key usage')
  if (node === undefined) return undefined
  return namedBitsOf(node, 'key usage').map(
    (bit) => KEY_USAGES[bit] ?? refuse('key usage', 'has an unknown bit'),
  )
}

const extendedKeyUsageOf = (extensions: Extensions): readonly string[] | undefined => {
  const node = extensionNode(extensions, OID.extendedKeyUsage, 'extended key usage')
  if (node === undefined) return undefined
  return childrenOf(node, TAG.sequence, 'extended key usage', { min: 1 }).map((use) =>
    oidOf(use, 'extended key usage'),
  )
}

const subjectKeyIdOf = (extensions: Extensions): string | undefined => {
  const node = extensionNode(extensions, OID.subjectKeyId, 'subject key id')
  return node === undefined ? undefined : contentOf(node, TAG.octetString, 'subject key id').toString('hex')
}

/** keyIdentifier only; an issuer and serial instead of it says nothing that the names do not. */
const authorityKeyIdOf = (extensions: Extensions): string | undefined => {
  const node = extensionNode(extensions, OID.authorityKeyId, 'authority key id')
  if (node === undefined) return undefined
  const keyId = childrenOf(node, TAG.sequence, 'authority key id').find(
    (part) => tagOf(part) === implicitTag(0),
  )
  return keyId && contentOf(keyId, implicitTag(0), 'authority key id').toString('hex')
}

type Fields = {
  readonly serial: Node | undefined
  readonly algorithm: Node | undefined
  readonly issuer: Node | undefined
  readonly validity: Node | undefined
  readonly subject: Node | undefined
  readonly spki: Node | undefined
  readonly extensions: Extensions
}

/** TBSCertificate with its optional fields sorted out. Version 3 carries extensions, version 1 and 2 may not (§4.1.2.1). */
const fieldsOf = (tbs: Node | undefined): Fields => {
  const parts = [...childrenOf(tbs, TAG.sequence, 'certificate', { min: 6, max: 10 })]
  let version = 0
  if (parts[0] !== undefined && tagOf(parts[0]) === constructedTag(0)) {
    const [node] = childrenOf(parts.shift(), constructedTag(0), 'certificate version', { min: 1, max: 1 })
    version = smallIntegerOf(node, 'certificate version')
    // DEFAULT v1 is never written
    if (version !== 1 && version !== 2) refuse('certificate version', 'is not 2 or 3')
  }
  const [serial, algorithm, issuer, validity, subject, spki, ...rest] = parts
  for (const tag of [ISSUER_UNIQUE_ID, SUBJECT_UNIQUE_ID]) if (rest[0] && tagOf(rest[0]) === tag) rest.shift()
  const [wrapped, ...more] = rest
  if (more.length > 0 || (wrapped !== undefined && version !== 2))
    refuse('certificate', 'has fields that its version has not')
  const extensions =
    wrapped === undefined
      ? NO_EXTENSIONS
      : readExtensions(
          childrenOf(wrapped, constructedTag(3), 'certificate extensions', { min: 1, max: 1 })[0],
          'certificate extensions',
        )
  return { serial, algorithm, issuer, validity, subject, spki, extensions }
}

/** @throws bad_request, naming the field */
export const readCertificate = (der: Uint8Array): CertificateFacts => {
  const parts = childrenOf(readDer(der, 'certificate', MAX_CERTIFICATE_BYTES), TAG.sequence, 'certificate', {
    min: 3,
    max: 3,
  })
  const [tbs, outerAlgorithm, signature] = parts
  octetsOfBits(signature, 'certificate signature')
  const fields = fieldsOf(tbs)
  const algorithm = derOf(fields.algorithm as Node)
  // §4.1.1.2: the signed one and the unsigned one are the same
  if (!algorithm.equals(derOf(outerAlgorithm as Node)))
    refuse('certificate', 'names two signature algorithms')
  const [notBefore, notAfter] = childrenOf(fields.validity, TAG.sequence, 'validity', { min: 2, max: 2 })
  const { extensions } = fields
  const san = extensionNode(extensions, OID.subjectAltName, 'subject alternative name')
  const names = san === undefined ? NO_NAMES : generalNamesOf(san, 'subject alternative name', 1)
  const serial = contentOf(fields.serial, TAG.integer, 'serial number')
  if (serial.length === 0 || serial.length > 64) refuse('serial number', 'is empty or too long')
  commonNameOf(fields.issuer, 'issuer')
  return {
    der,
    fingerprint: sha256Hex(der),
    serial: serial.toString('hex'),
    subjectDer: derOf(fields.subject as Node),
    issuerDer: derOf(fields.issuer as Node),
    commonName: commonNameOf(fields.subject, 'subject'),
    notBefore: timeOf(notBefore, 'not before'),
    notAfter: timeOf(notAfter, 'not after'),
    spkiSha256: sha256Hex(derOf(fields.spki as Node)),
    key: readSpki(fields.spki as Node).facts,
    ...basicConstraintsOf(extensions),
    keyUsage: keyUsageOf(extensions),
    extendedKeyUsage: extendedKeyUsageOf(extensions),
    subjectKeyId: subjectKeyIdOf(extensions),
    authorityKeyId: authorityKeyIdOf(extensions),
    sanUris: names.uris,
    sanDns: names.dns,
    signatureAlgorithm: oidOf(
      childrenOf(fields.algorithm, TAG.sequence, 'signature algorithm', { min: 1, max: 2 })[0],
      'signature algorithm',
    ),
  }
}

/**
 * SHA-256 of what was signed, hex. An ECDSA signature (r, s) has a twin (r, n − s) that anybody can make, so one certificate has two
 * fingerprints and one of these. For whoever counts certificates that others issued.
 */
export const signedPartSha256 = (der: Uint8Array): string => {
  const [tbs] = childrenOf(readDer(der, 'certificate', MAX_CERTIFICATE_BYTES), TAG.sequence, 'certificate', {
    min: 3,
    max: 3,
  })
  return sha256Hex(derOf(tbs as Node))
}

/** Every certificate of a PEM text, in order. @throws bad_request */
export const readCertificates = (pem: string): readonly CertificateFacts[] =>
  fromPem(pem, 'CERTIFICATE').map(readCertificate)

/** Of the very same octets: anchors and what a connection presented are asked for again and again. */
const known = new WeakMap<Uint8Array, Extensions>()

/** All of them, for who needs one that the facts do not hold. @throws bad_request */
export const extensionsOf = (der: Uint8Array): Extensions => {
  const before = known.get(der)
  if (before !== undefined) return before
  const [tbs] = childrenOf(readDer(der, 'certificate', MAX_CERTIFICATE_BYTES), TAG.sequence, 'certificate', {
    min: 3,
    max: 3,
  })
  const { extensions } = fieldsOf(tbs)
  known.set(der, extensions)
  return extensions
}

/** OIDs of the extensions marked critical: whoever judges a path refuses those it does not process (§4.2). */
export const criticalExtensionsOf = (der: Uint8Array): readonly string[] =>
  [...extensionsOf(der)].filter(([, { critical }]) => critical).map(([oid]) => oid)
