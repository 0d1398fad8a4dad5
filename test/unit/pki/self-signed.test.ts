/** Certificates that keys make for themselves: read again by us, and verified by OpenSSL. */

import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import type { KeyKind } from '#fleet/certificate.ts'
import { readCertificates } from '#pki/certificate.ts'
import { generateKey } from '#pki/keys.ts'
import { selfSigned } from '#pki/self-signed.ts'

const now = Date.UTC(2026, 10, 24)
const kid = 'k'.repeat(43)

test.each<KeyKind>(['P-256', 'RSA', 'Ed25519'])('of a key of kind %s', (kind) => {
  const key = generateKey(kind)
  const pem = selfSigned({ ...key, commonName: kid, notBefore: now, notAfter: now + 49 * DAY })
  const [facts, ...more] = readCertificates(pem)
  expect(more).toEqual([])
  expect(facts).toMatchObject({
    commonName: kid,
    notBefore: now,
    notAfter: now + 49 * DAY,
    isCa: false,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: undefined,
  })
  const other = new X509Certificate(pem)
  expect(other.verify(key.publicKey)).toBe(true)
  expect(other.checkPrivateKey(key.privateKey)).toBe(true)
  expect(other.subject).toBe(`CN=${kid}`)
})

test.each([
  ['no name', { commonName: '' }, 'common name'],
  ['a long name', { commonName: 'x'.repeat(65) }, 'common name'],
  ['an end before the beginning', { notAfter: now }, 'ends before it begins'],
])('refused: %s', (_, over, words) => {
  const asked = { ...generateKey('P-256'), commonName: kid, notBefore: now, notAfter: now + DAY, ...over }
  expect(() => selfSigned(asked)).toThrow(words)
})

test('a weak key makes none', () => {
  const weak = generateKey('RSA', 1_024)
  expect(() => selfSigned({ ...weak, commonName: kid, notBefore: now, notAfter: now + DAY })).toThrow('weak')
})
