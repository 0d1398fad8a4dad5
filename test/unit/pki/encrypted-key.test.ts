import { createPrivateKey } from 'node:crypto'
import { expect, test } from 'vitest'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { childrenOf, contentOf, oidOf, readDer, TAG } from '#pki/der.ts'
import { checkPassphrase, encryptedKeyPem } from '#pki/encrypted-key.ts'
import { generateKey } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { fromPem } from '#pki/pem.ts'

const passphrase = 'düster und lang genug 🔑'

test.each(KEY_KINDS)('node:crypto opens a %s key with the passphrase, and not with another', (kind) => {
  const { privateKey } = generateKey(kind)
  const key = encryptedKeyPem(privateKey, passphrase)
  expect(createPrivateKey({ key, passphrase }).equals(privateKey)).toBe(true)
  expect(() => createPrivateKey({ key, passphrase: `${passphrase}!` })).toThrow()
  expect(() => createPrivateKey(key)).toThrow()
})

test('a guess costs at least 600,000 rounds of HMAC-SHA256', () => {
  const pem = encryptedKeyPem(generateKey('P-256').privateKey, passphrase)
  const [der = new Uint8Array()] = fromPem(pem, 'ENCRYPTED PRIVATE KEY')
  const [algorithm] = childrenOf(readDer(der, 'key'), TAG.sequence, 'key')
  const [scheme, parameters] = childrenOf(algorithm, TAG.sequence, 'algorithm')
  expect(oidOf(scheme, 'scheme')).toBe(OID.pbes2)
  const [stretching] = childrenOf(parameters, TAG.sequence, 'parameters')
  const [name, values] = childrenOf(stretching, TAG.sequence, 'stretching')
  expect(oidOf(name, 'name')).toBe(OID.pbkdf2)
  const [salt, rounds, prf] = childrenOf(values, TAG.sequence, 'values')
  expect(contentOf(salt, TAG.octetString, 'salt')).toHaveLength(16)
  const octets = contentOf(rounds, TAG.integer, 'rounds')
  expect(octets.readUIntBE(0, octets.length)).toBeGreaterThanOrEqual(600_000)
  expect(oidOf(childrenOf(prf, TAG.sequence, 'prf')[0], 'prf')).toBe(OID.hmacWithSha256)
})

test('neither salt nor ciphertext come twice', () => {
  const { privateKey } = generateKey('P-256')
  expect(encryptedKeyPem(privateKey, passphrase)).not.toBe(encryptedKeyPem(privateKey, passphrase))
})

test.each(['', 'a'.repeat(11), '🔑'.repeat(11)])('too short: %j', (short) => {
  expect(() => checkPassphrase(short)).toThrow(expect.objectContaining({ code: 'bad_request' }))
})

test('12 characters will do', () => {
  expect(() => checkPassphrase('🔑'.repeat(12))).not.toThrow()
})
