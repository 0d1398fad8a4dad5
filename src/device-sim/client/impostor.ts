/**
 * Another CA: a root nobody here trusts, and certificates under it that say whatever an attacker wants them to say.
 * Only for attacking; nothing here is careful about what it signs.
 */

import { createHash, createPrivateKey, createPublicKey, randomBytes, type KeyObject } from 'node:crypto'
import { DAY, MINUTE } from '#fleet/clock.ts'
import {
  bits,
  boolean,
  commonName,
  embed,
  encode,
  explicit,
  implicit,
  integer,
  octets,
  oid,
  pem,
  sequence,
  signatureAlgorithm,
  signed,
  utcTime,
  type Der,
} from './der.ts'
import type { Identity } from './identity.ts'
import { newKey } from './key.ts'

const PURPOSES = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' } as const

export type Forgery = {
  readonly commonName: string
  /** subjectAltName entries */
  readonly uris?: readonly string[]
  readonly dns?: readonly string[]
  /** `none`: no extended key usage at all */
  readonly purpose?: keyof typeof PURPOSES | 'none'
  /** basicConstraints CA:TRUE, beside everything that a leaf says */
  readonly isCa?: boolean
  /** ms since the epoch; by default five minutes ago, and a day from now */
  readonly notBefore?: number
  readonly notAfter?: number
  /** PKCS #8 PEM, whose certificate it is to be; a new P-256 key by default */
  readonly keyPem?: string
}

/** `serial`: content octets of the INTEGER, hex */
export type Forged = Identity & { readonly serial: string }

export type Impostor = {
  /** of itself; a root's own, an intermediate's above it is its issuer's */
  readonly rootPem: string
  readonly serial: string
  issue(forgery: Forgery): Promise<Forged>
  /** an intermediate; `rootPem` is its own certificate, and what it issues has that as its chain */
  intermediate(name: string): Promise<Impostor>
  /** a revocation list of these serials, PEM; each call has a higher number */
  crl(serials: readonly string[]): string
}

const extension = (dotted: string, critical: boolean, value: Der): Der =>
  sequence(oid(dotted), ...(critical ? [boolean(true)] : []), octets(encode(value)))

const keyId = (key: KeyObject): Buffer =>
  createHash('sha1')
    .update(createPublicKey(key).export({ type: 'spki', format: 'der' }))
    .digest()

/** 01…: positive and minimal whatever the rest is */
const newSerial = (): Buffer => Buffer.concat([Buffer.of(0x41), randomBytes(15)])

const authorityKeyId = (key: KeyObject): Der =>
  extension('2.5.29.35', false, sequence(implicit(0, keyId(key))))

type Ca = { readonly name: string; readonly key: KeyObject }

const certificate = (o: {
  readonly subject: string
  readonly issuer: Ca
  readonly key: KeyObject
  readonly serial: Buffer
  readonly notBefore: number
  readonly notAfter: number
  readonly extensions: readonly Der[]
}): string => {
  const spki = createPublicKey(o.key).export({ type: 'spki', format: 'der' })
  const toBeSigned = sequence(
    explicit(0, integer(Buffer.of(2))),
    integer(o.serial),
    signatureAlgorithm(o.issuer.key),
    commonName(o.issuer.name),
    sequence(utcTime(o.notBefore), utcTime(o.notAfter)),
    commonName(o.subject),
    embed(spki),
    explicit(
      3,
      sequence(
        extension('2.5.29.14', false, octets(keyId(o.key))),
        authorityKeyId(o.issuer.key),
        ...o.extensions,
      ),
    ),
  )
  return pem('CERTIFICATE', signed(toBeSigned, o.issuer.key))
}

/** RFC 5280 §5.1: version 2, with a number and a nextUpdate. */
const revocationList = (ca: Ca, number: number, serials: readonly string[], now: number): string => {
  const entries = serials.map((serial) =>
    sequence(integer(Buffer.from(serial, 'hex')), utcTime(now - MINUTE)),
  )
  const toBeSigned = sequence(
    integer(Buffer.of(1)),
    signatureAlgorithm(ca.key),
    commonName(ca.name),
    utcTime(now - MINUTE),
    utcTime(now + DAY),
    // revokedCertificates is absent rather than empty (§5.1.2.6)
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    explicit(0, sequence(authorityKeyId(ca.key), extension('2.5.29.20', false, integer(Buffer.of(number))))),
  )
  return pem('X509 CRL', signed(toBeSigned, ca.key))
}

const isCa = (): Der => extension('2.5.29.19', true, sequence(boolean(true)))

const caExtensions = (): readonly Der[] => [
  isCa(),
  // keyCertSign and cRLSign
  extension('2.5.29.15', true, bits(Buffer.of(0x06), 1)),
]

const leafExtensions = (forgery: Forgery): readonly Der[] => {
  const { purpose = 'client', uris = [], dns = [] } = forgery
  const names = [
    ...uris.map((uri) => implicit(6, Buffer.from(uri))),
    ...dns.map((name) => implicit(2, Buffer.from(name))),
  ]
  return [
    ...(forgery.isCa ? [isCa()] : []),
    // digitalSignature
    extension('2.5.29.15', true, bits(Buffer.of(0x80), 7)),
    ...(purpose === 'none' ? [] : [extension('2.5.29.37', false, sequence(oid(PURPOSES[purpose])))]),
    ...(names.length === 0 ? [] : [extension('2.5.29.17', false, sequence(...names))]),
  ]
}

/** Whoever holds a CA's key: what it says of itself, and all that it signs. @param above the one that has signed it; undefined: itself */
const openCa = async (name: string, now: number, above: Ca | undefined): Promise<Impostor> => {
  const ca: Ca = { name, key: createPrivateKey(await newKey('P-256')) }
  const life = { notBefore: now - DAY, notAfter: now + DAY }
  const serial = newSerial()
  const rootPem = certificate({
    ...life,
    subject: name,
    issuer: above ?? ca,
    key: ca.key,
    serial,
    extensions: caExtensions(),
  })
  let lists = 0
  return {
    rootPem,
    serial: serial.toString('hex'),
    async issue(forgery) {
      const keyPem = forgery.keyPem ?? (await newKey('P-256'))
      const own = newSerial()
      const certificatePem = certificate({
        subject: forgery.commonName,
        issuer: ca,
        key: createPrivateKey(keyPem),
        serial: own,
        notBefore: forgery.notBefore ?? now - 5 * MINUTE,
        notAfter: forgery.notAfter ?? life.notAfter,
        extensions: leafExtensions(forgery),
      })
      const chainPem = above === undefined ? '' : rootPem
      return { keyPem, certificatePem, chainPem, serial: own.toString('hex') }
    },
    intermediate: (called) => openCa(called, now, ca),
    crl: (serials) => revocationList(ca, ++lists, serials, now),
  }
}

/** @param name CN of its root, which may well be the genuine root's */
export const createImpostor = (name: string, now: number): Promise<Impostor> => openCa(name, now, undefined)
