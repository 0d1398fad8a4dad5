/**
 * Reads the one kind of PKCS #7 that EST hands over: certificates, and nothing signed (RFC 7030 §4.1.3, §4.2.3; RFC 5652 §5.1 without
 * signers). What stands in it is believed of nobody: the certificates are checked by whoever asked. Not a CMS library.
 */

import { X509Certificate } from 'node:crypto'
import forge from 'node-forge'
import { broken } from './accepted.ts'
import { encode, type Der } from './der.ts'

const { asn1 } = forge
const { Class, Type } = asn1

/** octets; a chain and a few roots are some KB */
const MOST_OCTETS = 65_536
const MOST_CERTIFICATES = 32
/** of nested values: a certificate has about ten */
const DEEPEST = 32

const SIGNED_DATA = '1.2.840.113549.1.7.2'

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
    throw malformed(error instanceof Error ? error.message : 'it is not DER')
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

const isOid = (item: Der | undefined, dotted: string): boolean =>
  item?.tagClass === Class.UNIVERSAL &&
  item.type === Type.OID &&
  typeof item.value === 'string' &&
  asn1.derToOid(item.value) === dotted

/** @returns the certificates, in no order that means anything. @throws `expectation_broken` */
export const certificatesInPkcs7 = (der: Buffer): X509Certificate[] => {
  const [type, content, ...rest] = sequenceOf(strictly(der), 'ContentInfo')
  if (!isOid(type, SIGNED_DATA) || rest.length > 0) throw malformed('it is not SignedData')
  const [signedData, ...more] = contextOf(content, 'content')
  if (more.length > 0) throw malformed('it holds more than one content')
  // version, digestAlgorithms, encapContentInfo, certificates [0], crls [1], signerInfos
  const fields = sequenceOf(signedData, 'SignedData')
  const bag = fields.find((item) => item.tagClass === Class.CONTEXT_SPECIFIC && Number(item.type) === 0)
  const certificates = contextOf(bag, 'certificates')
  if (certificates.length > MOST_CERTIFICATES)
    throw malformed(`it holds more than ${MOST_CERTIFICATES} certificates`)
  return certificates.map((item) => {
    try {
      return new X509Certificate(encode(item))
    } catch {
      throw malformed('a certificate in it cannot be read')
    }
  })
}
