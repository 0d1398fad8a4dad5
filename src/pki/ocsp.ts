/**
 * OCSP (RFC 6960): a request read in one pass over its octets, an answer written. Anybody may send a request, thousands a second, so
 * nothing is built from it that it could make large. Knows no registry and holds no key: what is said about a serial comes from #enroll.
 *
 * DER only. Refused with `bad_request`: BER, an unknown critical extension, more than {@link MAX_REQUESTS} serials, a nonce of no or more
 * than 128 octets (RFC 9654 §2.1). A signature of the request is not verified: everybody gets the same answer (RFC 6960 §4.1.2).
 */

import { createHash } from 'node:crypto'
import { SECOND } from '#fleet/clock.ts'
import { REVOCATION_REASONS, type RevocationReason } from '#fleet/revocation-reason.ts'
import { FleetError } from '#fleet/errors.ts'
import {
  childrenOf,
  constructedTag,
  headOf,
  implicitTag,
  octetsOfBits,
  oidDer,
  readDer,
  TAG,
  tlv,
} from './der.ts'
import { extensionDer } from './extensions.ts'
import { OID } from './oids.ts'
import type { SignatureAlgorithm } from './signatures.ts'

/** Larger requests are refused unread. */
export const MAX_OCSP_BYTES = 8_192
/** Serials in one request. */
const MAX_REQUESTS = 32
const MAX_EXTENSIONS = 16
const MAX_NONCE = 128
/** RFC 5280 §4.1.2.2 has 20; a reader of what other CAs made is more patient, and not endlessly so. */
const MAX_SERIAL = 64

const refuse = (problem: string): never => {
  throw new FleetError('bad_request', `OCSP request: ${problem}`)
}

// ---- reading

/** Where reading is, within `der[..end]`. */
type Cursor = { readonly der: Buffer; at: number; readonly end: number }

/** The identifier octet that comes next; undefined at the end. */
const peek = ({ der, at, end }: Cursor): number | undefined => (at < end ? der[at] : undefined)

/** Steps over the value that is next. @returns a cursor over its content */
const enter = (cursor: Cursor, tag: number): Cursor => {
  const { der, end } = cursor
  if (peek(cursor) !== tag) refuse('an element is missing or of another type')
  let from = cursor.at + 2
  let length = from <= end ? (der[cursor.at + 1] as number) : refuse('it ends in the middle')
  if (length >= 0x80) {
    // two octets of length are more than MAX_OCSP_BYTES needs
    const octets = length & 0x7f
    if (octets === 0 || octets > 2 || from + octets > end) refuse('a length is not DER')
    length = der.readUIntBE(from, octets)
    from += octets
    if (length < (octets === 1 ? 0x80 : 0x100)) refuse('a length is not DER')
  }
  if (from + length > end) refuse('it ends in the middle')
  cursor.at = from + length
  return { der, at: from, end: from + length }
}

const done = ({ at, end }: Cursor): void => {
  if (at !== end) refuse('there is more than belongs there')
}

const octets = (cursor: Cursor): Buffer => cursor.der.subarray(cursor.at, cursor.end)

const integer = (cursor: Cursor): Buffer => {
  const content = octets(enter(cursor, TAG.integer))
  const [first, second] = content
  if (first === undefined || content.length > MAX_SERIAL) return refuse('a number is empty or too long')
  const padded =
    second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))
  return padded ? refuse('a number is not DER') : content
}

/** AlgorithmIdentifiers with parameters NULL or absent: both are in use (RFC 4055 §2.1). */
const HASHES: ReadonlyMap<string, 'sha1' | 'sha256'> = new Map(
  (['sha1', 'sha256'] as const).flatMap((name) =>
    [[], [tlv(TAG.null)]].map((parameters) => [
      Buffer.concat([oidDer(OID[name]), ...parameters]).toString('latin1'),
      name,
    ]),
  ),
)
const HASH_LENGTH = { sha1: 20, sha256: 32 } as const

export type CertId = {
  /** as sent, to be sent back */
  readonly der: Buffer
  /** names the issuer: {@link issuerKeysOf}. undefined: by a hash that we do not know */
  readonly issuer: string | undefined
  /** content octets of the INTEGER, hex */
  readonly serial: string
}

export type OcspRequest = {
  readonly certIds: readonly [CertId, ...CertId[]]
  /** the whole extension, to be sent back; undefined: none was sent */
  readonly nonce: Buffer | undefined
}

const issuerKey = (hash: 'sha1' | 'sha256', name: Buffer, key: Buffer): string =>
  `${hash} ${name.toString('latin1')}${key.toString('latin1')}`

/** CertID (§4.1.1) */
const certIdOf = (list: Cursor): CertId => {
  const from = list.at
  const fields = enter(list, TAG.sequence)
  const der = list.der.subarray(from, list.at)
  const hash = HASHES.get(octets(enter(fields, TAG.sequence)).toString('latin1'))
  const name = octets(enter(fields, TAG.octetString))
  const key = octets(enter(fields, TAG.octetString))
  const serial = integer(fields).toString('hex')
  done(fields)
  const known = hash !== undefined && name.length === HASH_LENGTH[hash] && key.length === HASH_LENGTH[hash]
  return { der, issuer: known ? issuerKey(hash, name, key) : undefined, serial }
}

const NONCE = oidDer(OID.ocspNonce).subarray(2)

const checkNonce = (value: Cursor): void => {
  const nonce = octets(enter(value, TAG.octetString))
  if (nonce.length === 0 || nonce.length > MAX_NONCE)
    refuse(`a nonce has 1 to ${MAX_NONCE} octets (RFC 9654)`)
  done(value)
}

/** Extensions in their explicit tag. @returns the nonce extension, when there is one */
const extensions = (tagged: Cursor): Buffer | undefined => {
  const list = enter(tagged, TAG.sequence)
  done(tagged)
  let nonce: Buffer | undefined
  let count = 0
  while (list.at < list.end) {
    count += 1
    if (count > MAX_EXTENSIONS) refuse('there are too many extensions')
    const from = list.at
    const extension = enter(list, TAG.sequence)
    const oid = octets(enter(extension, TAG.oid))
    const critical = peek(extension) === TAG.boolean && octets(enter(extension, TAG.boolean))
    if (critical && (critical.length !== 1 || critical[0] !== 0xff)) refuse('a BOOLEAN is not DER')
    const value = enter(extension, TAG.octetString)
    done(extension)
    if (oid.equals(NONCE)) {
      if (nonce !== undefined) refuse('there are two nonces')
      checkNonce(value)
      nonce = list.der.subarray(from, list.at)
    } else if (critical) refuse('there is a critical extension that is not understood here')
  }
  return nonce
}

/** @throws bad_request, whatever the octets are, and nothing else */
export const readOcspRequest = (der: Uint8Array): OcspRequest => {
  if (der.length > MAX_OCSP_BYTES) refuse(`it is larger than ${MAX_OCSP_BYTES} bytes`)
  const whole: Cursor = {
    der: Buffer.from(der.buffer, der.byteOffset, der.byteLength),
    at: 0,
    end: der.byteLength,
  }
  const request = enter(whole, TAG.sequence)
  done(whole)
  const tbs = enter(request, TAG.sequence)
  // optionalSignature
  if (peek(request) === constructedTag(0)) enter(request, constructedTag(0))
  done(request)

  if (peek(tbs) === constructedTag(0)) {
    const version = enter(tbs, constructedTag(0))
    const number = integer(version)
    done(version)
    // DEFAULT v1 is not to be written, and some write it
    if (number.length !== 1 || number[0] !== 0) refuse('its version is not 1')
  }
  // requestorName
  if (peek(tbs) === constructedTag(1)) enter(tbs, constructedTag(1))
  const list = enter(tbs, TAG.sequence)
  const nonce = peek(tbs) === constructedTag(2) ? extensions(enter(tbs, constructedTag(2))) : undefined
  done(tbs)

  const certIds: CertId[] = []
  while (list.at < list.end) {
    if (certIds.length === MAX_REQUESTS) refuse(`it asks for more than ${MAX_REQUESTS} certificates`)
    const single = enter(list, TAG.sequence)
    certIds.push(certIdOf(single))
    if (peek(single) === constructedTag(0)) extensions(enter(single, constructedTag(0)))
    done(single)
  }
  const [first, ...more] = certIds
  if (first === undefined) return refuse('it asks for no certificate')
  return { certIds: [first, ...more], nonce }
}

/** The BIT STRING's octets of a certificate's key. */
const keyBitsOf = (certificateDer: Uint8Array): Buffer => {
  const [tbs] = childrenOf(readDer(certificateDer, 'certificate'), TAG.sequence, 'certificate', {
    min: 3,
    max: 3,
  })
  // the version is always there in what we issue and trust; the key is the sixth after it (RFC 5280 §4.1)
  const spki = childrenOf(tbs, TAG.sequence, 'certificate', { min: 7, max: 10 })[6]
  return octetsOfBits(childrenOf(spki, TAG.sequence, 'public key', { min: 2, max: 2 })[1], 'public key')
}

/** The names under which a {@link CertId} may mean this issuer, one for each hash. */
export const issuerKeysOf = (issuer: {
  readonly subjectDer: Uint8Array
  readonly der: Uint8Array
}): readonly string[] => {
  const keyBits = keyBitsOf(issuer.der)
  return (['sha1', 'sha256'] as const).map((hash) =>
    issuerKey(
      hash,
      createHash(hash).update(issuer.subjectDer).digest(),
      createHash(hash).update(keyBits).digest(),
    ),
  )
}

// ---- writing

/** Unsigned answers (§4.2.1) */
const REFUSALS = {
  malformedRequest: 1,
  internalError: 2,
  tryLater: 3,
  unauthorized: 6,
} as const
export type OcspRefusal = keyof typeof REFUSALS

export const ocspRefusal = (refusal: OcspRefusal): Buffer =>
  tlv(TAG.sequence, tlv(TAG.enumerated, Buffer.of(REFUSALS[refusal])))

/** Times: ms since the epoch, written as whole seconds. */
export type SingleStatus =
  | { readonly status: 'good' | 'unknown' }
  | { readonly status: 'revoked'; readonly revokedAt: number; readonly reason: RevocationReason }

const writeTime = (second: number): Buffer =>
  tlv(
    TAG.generalizedTime,
    Buffer.from(
      `${new Date(second * SECOND).toISOString().slice(0, 19).replaceAll(/[-T:]/g, '')}Z`,
      'latin1',
    ),
  )

/** Those of the answers of a second are the same three, and writing one costs as much as reading a request. */
const MEMORY = 8
const written = new Map<number, Buffer>()

/** §4.2.2.1: GeneralizedTime, seconds, no fractions, `Z`. */
const generalizedTime = (at: number): Buffer => {
  const second = Math.floor(at / SECOND)
  let der = written.get(second)
  if (der === undefined) {
    if (written.size >= MEMORY) written.clear()
    written.set(second, (der = writeTime(second)))
  }
  return der
}

const GOOD = tlv(implicitTag(0))
const UNKNOWN = tlv(implicitTag(2))

const statusDer = (single: SingleStatus): Buffer => {
  if (single.status !== 'revoked') return single.status === 'good' ? GOOD : UNKNOWN
  const time = generalizedTime(single.revokedAt)
  // as on the CRL: a reason that says nothing is left out
  if (single.reason === 'unspecified') return tlv(constructedTag(1), time)
  const reason = tlv(TAG.enumerated, Buffer.of(REVOCATION_REASONS[single.reason]))
  return tlv(constructedTag(1), time, tlv(constructedTag(0), reason))
}

/** ResponderID byKey (§4.2.1): the SHA-1 of the responder's key, in its explicit tag. */
export const responderIdOf = (responderDer: Uint8Array): Buffer =>
  tlv(constructedTag(2), tlv(TAG.octetString, createHash('sha1').update(keyBitsOf(responderDer)).digest()))

/**
 * DER from its end to its beginning, into one buffer: a length is written when what it counts is there, and nothing is copied twice. An
 * answer is made thousands of times a second; everything else in this room is written with {@link tlv}.
 */
const backwards = (size: number) => {
  const der = Buffer.allocUnsafe(size)
  let at = size
  return {
    /** where a value will end that is to be wrapped */
    end: (): number => at,
    put: (octets: Uint8Array): void => {
      at -= octets.length
      der.set(octets, at)
    },
    /** identifier and shortest length of what stands between here and `end` */
    wrap: (tag: number, end: number): void => {
      const head = headOf(tag, end - at)
      at -= head.length
      der.set(head, at)
    },
    done: (): Buffer => der.subarray(at),
  }
}

/** Of heads, times, a revocation and its reason: more than there can be. */
const PER_ANSWER = 96
const PER_RESPONSE = 128

/** ResponseData, to be signed. `thisUpdate`, `nextUpdate`: of every answer in it */
export const responseData = (o: {
  readonly responderId: Uint8Array
  readonly producedAt: number
  readonly thisUpdate: number
  readonly nextUpdate: number
  readonly answers: readonly { readonly certIdDer: Uint8Array; readonly status: SingleStatus }[]
  readonly nonce: Uint8Array | undefined
}): Buffer => {
  let size = PER_RESPONSE + o.responderId.length + (o.nonce?.length ?? 0)
  for (const { certIdDer } of o.answers) size += PER_ANSWER + certIdDer.length
  const [thisUpdate, nextUpdate] = [generalizedTime(o.thisUpdate), generalizedTime(o.nextUpdate)]
  const writer = backwards(size)
  const whole = writer.end()
  if (o.nonce !== undefined) {
    writer.put(o.nonce)
    writer.wrap(TAG.sequence, whole)
    writer.wrap(constructedTag(1), whole)
  }
  const list = writer.end()
  for (let n = o.answers.length - 1; n >= 0; n -= 1) {
    const { certIdDer, status } = o.answers[n] as (typeof o.answers)[number]
    const single = writer.end()
    writer.put(nextUpdate)
    writer.wrap(constructedTag(0), single)
    writer.put(thisUpdate)
    writer.put(statusDer(status))
    writer.put(certIdDer)
    writer.wrap(TAG.sequence, single)
  }
  writer.wrap(TAG.sequence, list)
  writer.put(generalizedTime(o.producedAt))
  writer.put(o.responderId)
  writer.wrap(TAG.sequence, whole)
  return writer.done()
}

const SUCCESSFUL = tlv(TAG.enumerated, Buffer.of(0))
const BASIC = oidDer(OID.ocspBasic)
const NO_UNUSED_BITS = Buffer.of(0)

/** OCSPResponse. `certificateDer`: the responder's, so that a reader who has the issuer needs nothing else */
export const ocspResponse = (o: {
  readonly data: Uint8Array
  readonly algorithm: SignatureAlgorithm
  readonly signature: Uint8Array
  readonly certificateDer: Uint8Array
}): Buffer => {
  const { data, algorithm, signature, certificateDer } = o
  const size = data.length + algorithm.der.length + signature.length + certificateDer.length
  const writer = backwards(PER_RESPONSE + size)
  const whole = writer.end()
  writer.put(certificateDer)
  writer.wrap(TAG.sequence, whole)
  writer.wrap(constructedTag(0), whole)
  const bits = writer.end()
  writer.put(signature)
  writer.put(NO_UNUSED_BITS)
  writer.wrap(TAG.bitString, bits)
  writer.put(algorithm.der)
  writer.put(data)
  writer.wrap(TAG.sequence, whole)
  writer.wrap(TAG.octetString, whole)
  writer.put(BASIC)
  writer.wrap(TAG.sequence, whole)
  writer.wrap(constructedTag(0), whole)
  writer.put(SUCCESSFUL)
  writer.wrap(TAG.sequence, whole)
  return writer.done()
}

/** id-pkix-ocsp-nocheck (§4.2.2.2.1): the responder's own certificate is short-lived instead of being checked. */
export const NO_CHECK = extensionDer(OID.ocspNoCheck, false, tlv(TAG.null))
