/**
 * A PKCS #10 certification request (RFC 2986) → facts. Says what the requester asks and proves that it holds the key; grants
 * nothing: subject and names of a certificate come from the CA, and whether the key will do is #policy/keys.
 *
 * Refused, in this order, cheapest first:
 *   bad_csr                 not one PEM block, over 64 KiB, not canonical DER, not a version 1 request, names with control
 *                           characters, two common names, an attribute or extension twice, a signature algorithm not below
 *   weak_key                a kind, curve, size, exponent or spelling of key that we do not sign
 *   csr_signature_invalid   proof of possession fails
 */

import type { KeyFacts, KeyKind } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import {
  childrenOf,
  constructedTag,
  contentOf,
  elementsOf,
  MAX_DER_BYTES,
  octetsOfBits,
  oidOf,
  readDer,
  refuse,
  TAG,
  type Node,
} from './der.ts'
import { extensionNode, readExtensions } from './extensions.ts'
import { isSignedBy, isStrongKey, MAX_RSA_BITS, MIN_RSA_BITS, readSpki, sha256Hex } from './keys.ts'
import { commonNameOf, generalNamesOf, NO_NAMES, type GeneralNames } from './names.ts'
import { OID } from './oids.ts'
import { fromPem } from './pem.ts'
import { digestOf } from './signatures.ts'

export type CsrFacts = {
  /** as it was sent, DER */
  readonly der: Uint8Array
  readonly spkiDer: Uint8Array
  readonly spkiSha256: string
  readonly key: KeyFacts
  readonly commonName: string | undefined
  /** DER of the Name; `3000` when it is empty */
  readonly subjectDer: Uint8Array
  readonly sanUris: readonly string[]
  readonly sanDns: readonly string[]
  /** how many subject alternative names of other types */
  readonly sanOthers: number
}

const MAX_ATTRIBUTES = 16
/** 64 KiB in base64 with line ends, and room for text before the block, as `openssl req -text` writes it */
const MAX_PEM_TEXT = 2 * MAX_DER_BYTES
const PEM_LABELS = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'] as const

const derFromPem = (text: string): Uint8Array => {
  if (text.length > MAX_PEM_TEXT) return refuse('CSR', `is longer than ${MAX_PEM_TEXT} characters`)
  const label = PEM_LABELS.find((name) => text.includes(`-----BEGIN ${name}-----`))
  const [der, ...more] = fromPem(text, label ?? PEM_LABELS[0])
  if (more.length > 0) refuse('CSR', 'holds more than one request')
  return der as Uint8Array
}

const soundKind = (key: KeyFacts): KeyKind => {
  if (key.weakness !== undefined) throw new FleetError('weak_key', `the key ${key.weakness}`)
  if (key.kind === 'other')
    throw new FleetError(
      'weak_key',
      'the key is not P-256, P-384, P-521, Ed25519 or RSA, in its usual encoding',
    )
  if (!isStrongKey(key))
    throw new FleetError(
      'weak_key',
      `an RSA key has ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits; this one has ${key.bits}`,
    )
  return key.kind
}

/** The subject alternative names of the extensionRequest (RFC 2985 §5.4.2); every attribute but that one is skipped. */
const requestedNames = (attributes: Node | undefined): GeneralNames => {
  // [0] is not OPTIONAL in RFC 2986, but clients leave an empty one out and no one is misled by that
  if (attributes === undefined) return NO_NAMES
  const seen = new Set<string>()
  let names = NO_NAMES
  for (const attribute of childrenOf(attributes, constructedTag(0), 'CSR attributes', {
    max: MAX_ATTRIBUTES,
  })) {
    const [typeNode, valuesNode] = childrenOf(attribute, TAG.sequence, 'CSR attribute', { min: 2, max: 2 })
    const type = oidOf(typeNode, 'CSR attribute')
    if (seen.has(type)) refuse('CSR', `has attribute ${type} twice`)
    seen.add(type)
    const values = childrenOf(valuesNode, TAG.set, 'CSR attribute')
    if (type !== OID.extensionRequest) continue
    if (values.length !== 1) refuse('CSR extension request', 'has not exactly one value')
    const extensions = readExtensions(values[0], 'CSR extensions')
    const san = extensionNode(extensions, OID.subjectAltName, 'CSR subject alternative name')
    if (san !== undefined) names = generalNamesOf(san, 'CSR subject alternative name', 0)
  }
  return names
}

const read = (input: string | Uint8Array): CsrFacts => {
  const der = typeof input === 'string' ? derFromPem(input) : input
  const root = readDer(der, 'CSR')
  const [info, algorithmNode, signatureNode] = childrenOf(root, TAG.sequence, 'CSR', { min: 3, max: 3 })
  const [version, subject, spki, attributes] = childrenOf(info, TAG.sequence, 'CSR', { min: 3, max: 4 })
  if (contentOf(version, TAG.integer, 'CSR version').toString('hex') !== '00')
    refuse('CSR', 'is not of version 1')
  const commonName = commonNameOf(subject, 'CSR subject')
  const names = requestedNames(attributes)
  const digest = digestOf(algorithmNode, 'CSR signature algorithm')
  const signature = octetsOfBits(signatureNode, 'CSR signature')

  const { facts: key } = readSpki(spki as Node)
  const kind = soundKind(key)
  const [infoDer] = elementsOf(Buffer.from(der.buffer, der.byteOffset, der.byteLength)) as [Buffer]
  const [, subjectDer, spkiDer] = elementsOf(infoDer) as [Buffer, Buffer, Buffer]
  if (!digest.keys.includes(kind) || !isSignedBy(digest.name, infoDer, spkiDer, signature))
    throw new FleetError('csr_signature_invalid', 'the signature is not by the key in the request')

  return {
    der,
    spkiDer,
    spkiSha256: sha256Hex(spkiDer),
    key,
    commonName,
    subjectDer,
    sanUris: names.uris,
    sanDns: names.dns,
    sanOthers: names.others,
  }
}

const orBadCsr = <T>(work: () => T): T => {
  try {
    return work()
  } catch (error) {
    if (error instanceof FleetError && error.code === 'bad_request')
      throw new FleetError('bad_csr', error.detail, { cause: error.cause })
    throw error
  }
}

/** @param input PEM text, or DER. @throws bad_csr | weak_key | csr_signature_invalid */
export const readCsr = (input: string | Uint8Array): CsrFacts => orBadCsr(() => read(input))

/** What a request in PEM is in DER, and no more: nothing of it is read, and no key proved. @throws bad_csr */
export const csrDerOf = (pem: string): Uint8Array => orBadCsr(() => derFromPem(pem))
