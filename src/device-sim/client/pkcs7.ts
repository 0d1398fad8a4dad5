/**
 * Reads the one kind of PKCS #7 that EST hands over: certificates, and nothing signed (RFC 7030 §4.1.3, §4.2.3; RFC 5652 §5.1 without
 * signers). What stands in it is believed of nobody: the certificates are checked by whoever asked. Not a CMS library.
 */

import { X509Certificate } from 'node:crypto'
import forge from 'node-forge'
import { said } from '../said.ts'
import { broken } from './accepted.ts'
import { encode, type Der } from './der.ts'

const { asn1 } = forge
const { Class, Type } = asn1

/** octets; a chain and a few roots are some KB */
const MOST_OCTETS = 65_536
const MOST_CERTIFICATES = 32
/** of nested values: a certificate has about ten */
const DEEPEST = 32

const DATA = '1.2.840.113549.1.7.1'
const SIGNED_DATA = '1.2.840.113549.1.7.2'
const VERSION_1 = '\x01'

const malformed = (what: string): Error => broken(`the answer is no certs-only PKCS #7: ${what}`)

/** DER and nothing else: what is written in another way than the one that is allowed (X.690 §10) reads as something else elsewhere. */
const strictly = (der: Buffer): Der => {
  if (der.length > MOST_OCTETS) throw malformed(`it has more than ${MOST_OCTETS} octets`)
  // TypeScript's declaration of forge knows neither of the last two
  const options = { strict: true, decodeBitStrings: false, parseAllBytes: true, maxDepth: DEEPEST }
  let read: Der
  try {
    read = asn1.fromDer(der.toString('latin1'), options as never)
  } catch (error) {
    throw malformed(error instanceof Error ? said(error.message) : 'it is not DER')
  }
  if (!encode(read).equals(der)) throw malformed('it is not DER')
  return read
}

const childrenOf = (item: Der | undefined, cls: number, type: number, what: string): Der[] => {
  if (item === undefined || item.tagClass !== cls || Number(item.type) !== type || !Array.isArray(item.value))
    throw malformed(`no ${what}`)
  return item.value
}
const sequenceOf = (item: Der | undefined, what: string): Der[] =>
  childrenOf(item, Class.UNIVERSAL, Type.SEQUENCE, what)
const contextOf = (item: Der | undefined, what: string): Der[] =>
  childrenOf(item, Class.CONTEXT_SPECIFIC, 0, what)

const isPrimitive = (item: Der | undefined, type: number): item is Der & { readonly value: string } =>
  item?.tagClass === Class.UNIVERSAL && Number(item.type) === type && typeof item.value === 'string'

const isOid = (item: Der | undefined, dotted: string): boolean =>
  isPrimitive(item, Type.OID) && asn1.derToOid(item.value) === dotted

const isContext = (item: Der | undefined, tag: number): boolean =>
  item?.tagClass === Class.CONTEXT_SPECIFIC && Number(item.type) === tag

const isEmptySet = (item: Der | undefined): boolean =>
  item?.tagClass === Class.UNIVERSAL &&
  Number(item.type) === Number(Type.SET) &&
  Array.isArray(item.value) &&
  item.value.length === 0

/** Node would look for PEM text in it first: what is no certificate in DER is none. */
const certificateIn = (item: Der): X509Certificate => {
  sequenceOf(item, 'certificate')
  const der = encode(item)
  try {
    const certificate = new X509Certificate(der)
    if (certificate.raw.equals(der)) return certificate
  } catch {
    // as one that is another
  }
  throw malformed('a certificate in it cannot be read')
}

/** @returns the certificates, in no order that means anything. @throws `expectation_broken` */
export const certificatesInPkcs7 = (der: Buffer): X509Certificate[] => {
  const [type, content, ...rest] = sequenceOf(strictly(der), 'ContentInfo')
  if (!isOid(type, SIGNED_DATA) || rest.length > 0) throw malformed('it is not SignedData')
  const [signedData, ...more] = contextOf(content, 'content')
  if (more.length > 0) throw malformed('it holds more than one content')
  const [version, digests, encapsulated, bag, ...after] = sequenceOf(signedData, 'SignedData')
  // revocation lists are allowed, and nobody reads them
  const [signers, ...beyond] = isContext(after[0], 1) ? after.slice(1) : after
  if (!isPrimitive(version, Type.INTEGER) || version.value !== VERSION_1)
    throw malformed('it is not of version 1')
  const [contentType, ...signed] = sequenceOf(encapsulated, 'content that is signed')
  if (!isOid(contentType, DATA) || signed.length > 0) throw malformed('something in it is signed')
  if (!isEmptySet(digests) || !isEmptySet(signers) || beyond.length > 0)
    throw malformed('somebody has signed it')
  const certificates = contextOf(bag, 'certificates')
  if (certificates.length > MOST_CERTIFICATES)
    throw malformed(`it holds more than ${MOST_CERTIFICATES} certificates`)
  return certificates.map(certificateIn)
}
