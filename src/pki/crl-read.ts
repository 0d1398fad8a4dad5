/**
 * A CRL that somebody else signed (RFC 5280 §5) → facts, whose signature it bears, and which certificates it speaks of (§6.3.3).
 * Bounded: entries are walked and never parsed into trees, so that as many as a megabyte of PEM holds are read in some 10 ms. Not our own CRLs: those are written by crl.ts.
 *
 * Refused, because a reader that guessed here would take a revoked certificate for a good one: version 1, no nextUpdate, no CRL number,
 * delta CRLs, critical extensions that are not understood, critical entry extensions (indirect CRLs), BER.
 */

import { verify, X509Certificate } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { extensionsOf } from './certificate.ts'
import {
  childrenOf,
  constructedTag,
  contentOf,
  implicitTag,
  octetsOfBits,
  readDer,
  refuse,
  sameBytes,
  TAG,
  tagOf,
  timeOf,
  type Node,
} from './der.ts'
import { extensionNode, readExtensions, type Extensions } from './extensions.ts'
import { commonNameOf } from './names.ts'
import { OID } from './oids.ts'
import { fromPem } from './pem.ts'
import { digestOf, type SignatureAlgorithm } from './signatures.ts'

/** What a PEM text of a megabyte can hold. */
const MAX_CRL_BYTES = 786_432
const MAX_EXTENSIONS_BYTES = 32_768
const MAX_SERIAL = 64
const MAX_URIS = 64

const WHAT = 'CRL'
/** Critical ones that are acted upon here; any other refuses the CRL (§5.2). */
const PROCESSED: ReadonlySet<string> = new Set([
  OID.issuingDistributionPoint,
  OID.crlNumber,
  OID.authorityKeyId,
])

/** Which certificates of its issuer a CRL lists (§5.2.5). `points`: of those that name one of them; undefined: of all. */
export type CrlScope = {
  readonly users: boolean
  readonly cas: boolean
  readonly points: readonly string[] | undefined
}

/** Dates are ms since the epoch. */
export type CrlFacts = {
  /** DER of the Name */
  readonly issuerDer: Uint8Array
  readonly authorityKeyId: string | undefined
  readonly number: bigint
  readonly thisUpdate: number
  readonly nextUpdate: number
  readonly scope: CrlScope
  /** serials, content octets, hex: of whatever reason, holds too */
  readonly revoked: ReadonlySet<string>
  readonly tbs: Uint8Array
  readonly algorithm: SignatureAlgorithm
  readonly signature: Uint8Array
}

/** `from`: where it begins, `at`: its content, `end`: behind it. */
type Slice = { readonly tag: number; readonly from: number; readonly at: number; readonly end: number }

/** One value, as DER has it. */
const sliceAt = (der: Uint8Array, from: number, limit: number): Slice => {
  const [tag, first] = [der[from], der[from + 1]]
  if (tag === undefined || first === undefined || from + 2 > limit || (tag & 0x1f) === 0x1f)
    return refuse(WHAT, 'is not DER')
  let [at, length] = [from + 2, first]
  if (first >= 0x80) {
    const octets = first & 0x7f
    if (octets === 0 || octets > 4 || at + octets > limit) return refuse(WHAT, 'is not DER')
    length = 0
    for (let each = 0; each < octets; each += 1) length = length * 256 + (der[at + each] as number)
    at += octets
    if (length < 0x80 || length < 256 ** (octets - 1)) return refuse(WHAT, 'is not canonical DER')
  }
  if (at + length > limit) return refuse(WHAT, 'is not DER')
  return { tag, from, at, end: at + length }
}

const slicesIn = (der: Uint8Array, parent: Slice, most: number): readonly Slice[] => {
  const found: Slice[] = []
  for (let at = parent.at; at < parent.end; at = (found.at(-1) as Slice).end) {
    if (found.length === most) return refuse(WHAT, 'has too many elements')
    found.push(sliceAt(der, at, parent.end))
  }
  return found
}

/** Its octets, parsed strictly: for what is small. */
const nodeOf = (der: Uint8Array, slice: Slice, maxBytes?: number): Node =>
  readDer(der.subarray(slice.from, slice.end), WHAT, maxBytes)

/** Without any parsing of values: a reason says why, and not whether. @throws bad_request for a critical one */
const checkEntryExtensions = (der: Uint8Array, list: Slice): void => {
  if (list.tag !== TAG.sequence) refuse(WHAT, 'has an entry of another form')
  for (const extension of slicesIn(der, list, 8)) {
    const [oid, second, third, ...more] = slicesIn(der, extension, 3)
    const critical = third === undefined ? undefined : second
    if (extension.tag !== TAG.sequence || oid?.tag !== TAG.oid || more.length > 0)
      refuse(WHAT, 'has an entry extension of another form')
    if ((third ?? second)?.tag !== TAG.octetString) refuse(WHAT, 'has an entry extension of another form')
    if (critical !== undefined && (critical.tag !== TAG.boolean || der[critical.at] !== 0))
      refuse(WHAT, 'has an entry with a critical extension')
  }
}

/** Entries read between two steps of {@link crlReading}: a millisecond or less. */
const PIECE = 2_048

function* revokedIn(der: Buffer, list: Slice): Generator<undefined, ReadonlySet<string>> {
  const revoked = new Set<string>()
  for (let at = list.at, read = 1; at < list.end; read += 1) {
    if (read % PIECE === 0) yield undefined
    const entry = sliceAt(der, at, list.end)
    if (entry.tag !== TAG.sequence) refuse(WHAT, 'has an entry of another form')
    const [serial, date, extensions] = slicesIn(der, entry, 3)
    if (serial?.tag !== TAG.integer || (date?.tag !== TAG.utcTime && date?.tag !== TAG.generalizedTime))
      return refuse(WHAT, 'has an entry of another form')
    const octets = der.subarray(serial.at, serial.end)
    const [first, second] = octets
    const padded = second !== undefined && (first === 0 ? second < 0x80 : first === 0xff && second >= 0x80)
    if (octets.length === 0 || octets.length > MAX_SERIAL || padded)
      refuse(WHAT, 'has a serial that is not DER')
    if (extensions !== undefined) checkEntryExtensions(der, extensions)
    revoked.add(octets.toString('hex'))
    at = entry.end
  }
  return revoked
}

/** An IMPLICIT BOOLEAN in an IssuingDistributionPoint. */
const flagOf = (parts: readonly Node[], tag: number): boolean => {
  const node = parts.find((part) => tagOf(part) === implicitTag(tag))
  return node !== undefined && contentOf(node, implicitTag(tag), WHAT)[0] !== 0
}

/** URIs of a DistributionPointName; other kinds of names, and names relative to an issuer, match nothing here. */
const urisOf = (point: Node): readonly string[] => {
  const [full] = childrenOf(point, constructedTag(0), 'distribution point', { min: 1, max: 1 })
  if (full === undefined || tagOf(full) !== constructedTag(0)) return []
  return childrenOf(full, constructedTag(0), 'distribution point', { max: MAX_URIS })
    .filter((name) => tagOf(name) === implicitTag(6))
    .map((name) => contentOf(name, implicitTag(6), 'distribution point').toString('latin1'))
}

const scopeOf = (extensions: Extensions): CrlScope => {
  const node = extensionNode(extensions, OID.issuingDistributionPoint, WHAT)
  if (node === undefined) return { users: true, cas: true, points: undefined }
  const parts = childrenOf(node, TAG.sequence, 'issuing distribution point', { max: 6 })
  const point = parts.find((part) => tagOf(part) === constructedTag(0))
  if (parts.some((part) => tagOf(part) === implicitTag(3)))
    refuse(WHAT, 'lists only some reasons, so that it cannot say that a certificate is good')
  if (flagOf(parts, 4)) refuse(WHAT, 'is an indirect one')
  if (flagOf(parts, 5)) refuse(WHAT, 'is for attribute certificates')
  return {
    users: !flagOf(parts, 2),
    cas: !flagOf(parts, 1),
    points: point === undefined ? undefined : urisOf(point),
  }
}

const numberOf = (extensions: Extensions): bigint => {
  const node = extensionNode(extensions, OID.crlNumber, WHAT)
  if (node === undefined) return refuse(WHAT, 'has no CRL number')
  const octets = contentOf(node, TAG.integer, 'CRL number')
  if (octets.length === 0 || octets.length > 21 || (octets[0] as number) & 0x80)
    refuse('CRL number', 'is out of range')
  return BigInt(`0x${octets.toString('hex')}`)
}

const authorityKeyIdOf = (extensions: Extensions): string | undefined => {
  const node = extensionNode(extensions, OID.authorityKeyId, WHAT)
  if (node === undefined) return undefined
  const keyId = childrenOf(node, TAG.sequence, 'authority key id').find(
    (part) => tagOf(part) === implicitTag(0),
  )
  return keyId && contentOf(keyId, implicitTag(0), 'authority key id').toString('hex')
}

/**
 * A CRL in steps of a bounded number of entries, for whoever has other things to do meanwhile: 100,000 entries take some 40 ms.
 * Steps throw bad_request, naming what is wrong.
 */
export function* crlReading(bytes: Uint8Array, maxBytes = MAX_CRL_BYTES): Generator<undefined, CrlFacts> {
  const der = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (der.length > maxBytes) refuse(WHAT, `is larger than ${maxBytes} bytes`)
  const root = sliceAt(der, 0, der.length)
  const [tbs, outer, signature, ...more] = slicesIn(der, root, 3)
  if (root.tag !== TAG.sequence || root.end !== der.length || tbs?.tag !== TAG.sequence || more.length > 0)
    return refuse(WHAT, 'is not one')
  if (outer === undefined || signature === undefined) return refuse(WHAT, 'is not one')

  const parts = [...slicesIn(der, tbs, 7)]
  const version = parts[0]?.tag === TAG.integer ? parts.shift() : undefined
  if (version === undefined || der.subarray(version.from, version.end).toString('hex') !== '020101')
    return refuse(WHAT, 'is not of version 2')
  const [inner, issuer, thisUpdate, nextUpdate, ...rest] = parts
  if (inner === undefined || issuer === undefined || thisUpdate === undefined)
    return refuse(WHAT, 'is not one')
  if (nextUpdate?.tag !== TAG.utcTime && nextUpdate?.tag !== TAG.generalizedTime)
    return refuse(WHAT, 'does not say when the next one comes')
  if (!der.subarray(inner.from, inner.end).equals(der.subarray(outer.from, outer.end)))
    refuse(WHAT, 'names two signature algorithms')
  const entries = rest[0]?.tag === TAG.sequence ? rest.shift() : undefined
  const [wrapped, ...surplus] = rest
  if (wrapped?.tag !== constructedTag(0) || surplus.length > 0) return refuse(WHAT, 'has no extensions')
  const extensions = readExtensions(
    childrenOf(nodeOf(der, wrapped, MAX_EXTENSIONS_BYTES), constructedTag(0), WHAT, { min: 1, max: 1 })[0],
    'CRL extensions',
  )
  if (extensions.has(OID.deltaCrlIndicator))
    refuse(WHAT, 'is a delta: it lists only what has changed, and the complete one is needed')
  for (const [oid, { critical }] of extensions)
    if (critical && !PROCESSED.has(oid))
      refuse(WHAT, `has a critical extension ${oid} that is not understood`)
  commonNameOf(nodeOf(der, issuer), 'CRL issuer')

  return {
    issuerDer: der.subarray(issuer.from, issuer.end),
    authorityKeyId: authorityKeyIdOf(extensions),
    number: numberOf(extensions),
    thisUpdate: timeOf(nodeOf(der, thisUpdate), 'this update'),
    nextUpdate: timeOf(nodeOf(der, nextUpdate), 'next update'),
    scope: scopeOf(extensions),
    revoked: entries === undefined ? new Set() : yield* revokedIn(der, entries),
    tbs: der.subarray(tbs.from, tbs.end),
    algorithm: digestOf(nodeOf(der, inner), 'CRL signature algorithm'),
    signature: octetsOfBits(nodeOf(der, signature), 'CRL signature'),
  }
}

/** All steps at once. @throws bad_request, naming what is wrong */
export const readCrl = (bytes: Uint8Array, maxBytes = MAX_CRL_BYTES): CrlFacts => {
  const reading = crlReading(bytes, maxBytes)
  let step = reading.next()
  while (step.done !== true) step = reading.next()
  return step.value
}

/** Every CRL of a PEM text, in order. @throws bad_request */
export const readCrls = (pem: string): readonly CrlFacts[] =>
  fromPem(pem, 'X509 CRL').map((der) => readCrl(der))

/** Everything but the signature: is it in the name of this CA, and may that CA sign CRLs (§6.3.3 (f))? */
export const crlNames = (crl: CrlFacts, ca: CertificateFacts): boolean =>
  sameBytes(crl.issuerDer, ca.subjectDer) &&
  ca.isCa &&
  (ca.keyUsage === undefined || ca.keyUsage.includes('cRLSign')) &&
  (crl.authorityKeyId === undefined ||
    ca.subjectKeyId === undefined ||
    crl.authorityKeyId === ca.subjectKeyId)

/** {@link crlNames}, and the signature. */
export const crlSignedBy = (crl: CrlFacts, ca: CertificateFacts): boolean => {
  if (!crlNames(crl, ca) || !(crl.algorithm.keys as readonly string[]).includes(ca.key.kind)) return false
  try {
    const key = new X509Certificate(ca.der).publicKey
    return verify(crl.algorithm.name, crl.tbs, key, crl.signature)
  } catch {
    return false
  }
}

/** URIs of the CRL distribution points (§4.2.1.13) that a direct CRL for all reasons may stand for. @throws bad_request */
export const crlPointsOf = (certificate: CertificateFacts): readonly string[] => {
  const node = extensionNode(
    extensionsOf(certificate.der),
    OID.crlDistributionPoints,
    'CRL distribution points',
  )
  if (node === undefined) return []
  return childrenOf(node, TAG.sequence, 'CRL distribution points', { min: 1 }).flatMap((each) => {
    const parts = childrenOf(each, TAG.sequence, 'CRL distribution point', { max: 3 })
    const [name] = parts
    return parts.length === 1 && name !== undefined && tagOf(name) === constructedTag(0) ? urisOf(name) : []
  })
}

/** Would it list this certificate of its issuer, if it were revoked (§6.3.3 (b))? @param points of {@link crlPointsOf} */
export const crlCovers = (
  { scope }: CrlFacts,
  certificate: CertificateFacts,
  points: readonly string[],
): boolean =>
  (certificate.isCa ? scope.cas : scope.users) &&
  (scope.points === undefined || scope.points.some((point) => points.includes(point)))
