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
  readonly purpose?: keyof typeof PURPOSES
  /** ms since the epoch; a day from now by default */
  readonly notBefore?: number
  readonly notAfter?: number
}

export type Impostor = {
  readonly rootPem: string
  issue(forgery: Forgery): Promise<Identity>
}

const extension = (dotted: string, critical: boolean, value: Der): Der =>
  sequence(oid(dotted), ...(critical ? [boolean(true)] : []), octets(encode(value)))

const keyId = (key: KeyObject): Buffer =>
  createHash('sha1')
    .update(createPublicKey(key).export({ type: 'spki', format: 'der' }))
    .digest()

const certificate = (o: {
  readonly subject: string
  readonly issuer: string
  readonly key: KeyObject
  readonly issuerKey: KeyObject
  readonly notBefore: number
  readonly notAfter: number
  readonly extensions: readonly Der[]
}): string => {
  // 01…: positive and minimal whatever the rest is
  const serial = Buffer.concat([Buffer.of(0x41), randomBytes(15)])
  const spki = createPublicKey(o.key).export({ type: 'spki', format: 'der' })
  const toBeSigned = sequence(
    explicit(0, integer(Buffer.of(2))),
    integer(serial),
    signatureAlgorithm(o.issuerKey),
    commonName(o.issuer),
    sequence(utcTime(o.notBefore), utcTime(o.notAfter)),
    commonName(o.subject),
    embed(spki),
    explicit(
      3,
      sequence(
        extension('2.5.29.14', false, octets(keyId(o.key))),
        extension('2.5.29.35', false, sequence(implicit(0, keyId(o.issuerKey)))),
        ...o.extensions,
      ),
    ),
  )
  return pem('CERTIFICATE', signed(toBeSigned, o.issuerKey))
}

/** @param name CN of its root, which may well be the genuine root's */
export const createImpostor = async (name: string, now: number): Promise<Impostor> => {
  const rootKey = createPrivateKey(await newKey('P-256'))
  const rootPem = certificate({
    subject: name,
    issuer: name,
    key: rootKey,
    issuerKey: rootKey,
    notBefore: now - DAY,
    notAfter: now + DAY,
    extensions: [
      extension('2.5.29.19', true, sequence(boolean(true))),
      // keyCertSign and cRLSign
      extension('2.5.29.15', true, bits(Buffer.of(0x06), 1)),
    ],
  })
  const issue = async (forgery: Forgery): Promise<Identity> => {
    const keyPem = await newKey('P-256')
    const names = [
      ...(forgery.uris ?? []).map((uri) => implicit(6, Buffer.from(uri))),
      ...(forgery.dns ?? []).map((dns) => implicit(2, Buffer.from(dns))),
    ]
    const certificatePem = certificate({
      subject: forgery.commonName,
      issuer: name,
      key: createPrivateKey(keyPem),
      issuerKey: rootKey,
      notBefore: forgery.notBefore ?? now - 5 * MINUTE,
      notAfter: forgery.notAfter ?? now + DAY,
      extensions: [
        // digitalSignature
        extension('2.5.29.15', true, bits(Buffer.of(0x80), 7)),
        extension('2.5.29.37', false, sequence(oid(PURPOSES[forgery.purpose ?? 'client']))),
        ...(names.length === 0 ? [] : [extension('2.5.29.17', false, sequence(...names))]),
      ],
    })
    return { keyPem, certificatePem, chainPem: '' }
  }
  return { rootPem, issue }
}
