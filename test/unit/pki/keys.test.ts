import { describe, expect, test } from 'vitest'
import type { KeyFacts, KeyKind } from '#fleet/certificate.ts'
import { readDer } from '#pki/der.ts'
import {
  generateKey,
  isStrongKey,
  keyFacts,
  readSpki,
  sha256Hex,
  spkiDer,
  subjectKeyIdOf,
} from '#pki/keys.ts'

test.each<[KeyKind, number | undefined, KeyFacts]>([
  ['P-256', undefined, { kind: 'P-256', bits: 256 }],
  ['P-384', undefined, { kind: 'P-384', bits: 384 }],
  ['P-521', undefined, { kind: 'P-521', bits: 521 }],
  ['Ed25519', undefined, { kind: 'Ed25519', bits: 255 }],
  ['RSA', undefined, { kind: 'RSA', bits: 2_048 }],
  ['RSA', 1_024, { kind: 'RSA', bits: 1_024 }],
  ['RSA', 2_056, { kind: 'RSA', bits: 2_056 }],
])('%s %s', (kind, bits, facts) => {
  const { privateKey, publicKey } = generateKey(kind, bits)
  expect(keyFacts(publicKey)).toEqual(facts)
  expect(privateKey.type).toBe('private')
})

test.each<[KeyFacts, boolean]>([
  [{ kind: 'P-256', bits: 256 }, true],
  [{ kind: 'Ed25519', bits: 255 }, true],
  [{ kind: 'RSA', bits: 2_047 }, false],
  [{ kind: 'RSA', bits: 2_048 }, true],
  [{ kind: 'RSA', bits: 8_192 }, true],
  [{ kind: 'RSA', bits: 8_193 }, false],
  [{ kind: 'other', bits: 0 }, false],
])('%j strong: %s', (facts, strong) => {
  expect(isStrongKey(facts)).toBe(strong)
})

describe('hashes', () => {
  test('SHA-256 in hex', () => {
    expect(sha256Hex(Buffer.from('abc'))).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
  })
  test('the key id is of the key, not of the whole SubjectPublicKeyInfo (RFC 7093 §2)', () => {
    const { publicKey } = generateKey('P-256')
    const { keyBits } = readSpki(readDer(spkiDer(publicKey), 'key'))
    expect(keyBits).toHaveLength(65)
    expect(subjectKeyIdOf(keyBits).toString('hex')).toBe(sha256Hex(keyBits).slice(0, 40))
  })
})
