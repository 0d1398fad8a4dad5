/** What a device signs to enrol over MQTT, and the nonce in it. The attacks on the whole are in test/system/enroll-relay.test.ts. */

import { createHash, createPublicKey, sign, verify } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createNonces, NONCE_LIFE } from '#enroll/relay-nonce.ts'
import { checkProof, signedOctets } from '#enroll/relay-proof.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { makePki } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 25)
const pki = makePki({ now })
const secret = Buffer.alloc(32, 7)
const prints = ['aa'.repeat(32), 'bb'.repeat(32)] as const

const noncesAt = (time: () => number, key: Uint8Array = secret) =>
  createNonces({ key, clock: time, random: (octets) => Buffer.alloc(octets, 1) })

describe('a nonce', () => {
  test('is the same octets again, until its time, for this certificate, on any desk with this key', () => {
    let time = now
    const { nonce, expires } = noncesAt(() => time).give(prints[0], 'create')
    const desk = noncesAt(() => time)
    expect(expires).toBe(now + NONCE_LIFE)
    expect(desk.take(nonce, prints[0], 'create').toString('base64url')).toBe(nonce)
    time = expires - 1
    expect(desk.take(nonce, prints[0], 'create')).toHaveLength(72)
    time = expires
    expect(() => desk.take(nonce, prints[0], 'create')).toThrow(
      expect.objectContaining({ code: 'token_expired' }),
    )
  })

  test.each([
    ['create', 'renew', 'sallyport-enroll'],
    ['renew', 'create', 'sallyport-renews'],
  ] as const)('for %s is none for %s, and says so in its first octets', (kind, other, label) => {
    const desk = noncesAt(() => now)
    const { nonce: text } = desk.give(prints[0], kind)
    expect(desk.take(text, prints[0], kind).toString('latin1', 0, 16)).toBe(label)
    expect(() => desk.take(text, prints[0], other)).toThrow(
      expect.objectContaining({ code: 'token_invalid' }),
    )
  })

  const { nonce } = noncesAt(() => now).give(prints[0], 'create')
  const octets = Buffer.from(nonce, 'base64url')
  const flipped = (at: number): string => {
    const copy = Buffer.from(octets)
    copy[at] = (copy[at] as number) ^ 1
    return copy.toString('base64url')
  }
  test.each<[string, string, string, Buffer?]>([
    ['another certificate', nonce, prints[1]],
    ['another key', nonce, prints[0], Buffer.alloc(32, 8)],
    ['nothing', '', prints[0]],
    ['shorter', nonce.slice(0, -4), prints[0]],
    ['longer', `${nonce}AAAA`, prints[0]],
    ['padded', `${nonce}=`, prints[0]],
    ['base64', octets.toString('base64').replace(/[A-Za-z0-9]/, '+'), prints[0]],
    ['with a space', ` ${nonce}`, prints[0]],
    ...[...octets.keys()].map((at): [string, string, string] => [
      `octet ${at} flipped`,
      flipped(at),
      prints[0],
    ]),
  ])('is none: %s', (_, text, print, key) => {
    expect(() => noncesAt(() => now, key).take(text, print, 'create')).toThrow(
      expect.objectContaining({ code: 'token_invalid' }),
    )
  })
})

const csr = Buffer.from('a request')
const nonce = Buffer.from('a nonce')

const codeOf = (work: () => void): string => {
  try {
    work()
    return 'good'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('a proof', () => {
  test('is over the hash of the CSR, the nonce, and a group that is named', () => {
    const hash = createHash('sha256').update(csr).digest()
    expect(signedOctets(csr, nonce, undefined)).toEqual(Buffer.concat([hash, nonce]))
    expect(signedOctets(csr, nonce, 'pumps')).toEqual(Buffer.concat([hash, nonce, Buffer.from('pumps')]))
  })

  test.each([
    ['P-256', 'sha256', 'sha512'],
    ['P-384', 'sha384', 'sha256'],
    ['P-521', 'sha512', 'sha256'],
    ['RSA', 'sha256', 'sha512'],
    ['Ed25519', null, undefined],
  ] as const)('%s with %s, and no other', (kind, digest, other) => {
    const leaf = pki.device({ kind })
    const octets = signedOctets(csr, nonce, undefined)
    const check = (signature: Buffer, over = {}) =>
      codeOf(() =>
        checkProof({
          leaf: leaf.facts,
          csr,
          nonce,
          group: undefined,
          signature: signature.toString('base64'),
          ...over,
        }),
      )
    const good = sign(digest, octets, leaf.privateKey)
    // another implementation of the same, so that what is refused below is refused for its reason
    expect(verify(digest, octets, createPublicKey(leaf.certPem), good)).toBe(true)
    expect(check(good)).toBe('good')
    for (const over of [
      { csr: Buffer.from('b') },
      { nonce: Buffer.from('b') },
      { group: 'g' },
      { leaf: pki.device({ kind }).facts },
    ])
      expect(check(good, over)).toBe('token_invalid')
    if (other !== undefined) expect(check(sign(other, octets, leaf.privateKey))).toBe('token_invalid')
  })

  test.each(['', '=', 'AAAA', '!', 'x'.repeat(2_048)])('%j is none', (signature) => {
    const { facts: leaf } = pki.device()
    expect(codeOf(() => checkProof({ leaf, csr, nonce, group: undefined, signature }))).toBe('token_invalid')
  })

  test.each([
    { kind: 'RSA', bits: 1_024 },
    { kind: 'RSA', bits: 16_384 },
    { kind: 'other', bits: 0 },
  ] as const)('nothing is verified with a key of %o', (key) => {
    const leaf: CertificateFacts = { ...pki.device().facts, key }
    expect(codeOf(() => checkProof({ leaf, csr, nonce, group: undefined, signature: 'AAAA' }))).toBe(
      'certificate_weak_key',
    )
  })
})
