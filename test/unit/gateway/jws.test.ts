import { randomBytes, sign, verify } from 'node:crypto'
import { compactVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { base64url, fitsAlgorithm, rawSignature, signJws, verifyJws } from '#gateway/jws.ts'
import { generateKey } from '#pki/keys.ts'
import type { AssertionAlgorithm } from '#registry/registry.ts'

const KEYS = {
  ES256: generateKey('P-256'),
  RS256: generateKey('RSA', 2_048),
  EdDSA: generateKey('Ed25519'),
}
const ALGORITHMS = Object.keys(KEYS) as AssertionAlgorithm[]
const headOf = (alg: string) => base64url(JSON.stringify({ alg, kid: 'k1', typ: 'JWT' }))
const made = (algorithm: AssertionAlgorithm, payload = '{"a":1}') => {
  const jws = signJws({ algorithm, ...KEYS[algorithm] }, headOf(algorithm), payload)
  const [head = '', body = '', signature = ''] = jws.split('.')
  return { jws, signed: `${head}.${body}`, signature }
}

describe.each(ALGORITHMS)('%s', (algorithm) => {
  const key = { algorithm, ...KEYS[algorithm] }

  test('is what another library reads', async () => {
    const { payload, protectedHeader } = await compactVerify(made(algorithm).jws, key.publicKey, {
      algorithms: [algorithm],
    })
    expect(Buffer.from(payload).toString()).toBe('{"a":1}')
    expect(protectedHeader).toEqual({ alg: algorithm, kid: 'k1', typ: 'JWT' })
  })
  test('verifies, and not when a bit of it is another', () => {
    const { signed, signature } = made(algorithm)
    const bytes = Buffer.from(signature, 'base64url')
    bytes[5] = (bytes[5] as number) ^ 1
    expect(verifyJws(key, signed, signature)).toBe(true)
    expect(verifyJws(key, `${signed}x`, signature)).toBe(false)
    expect(verifyJws(key, signed, bytes.toString('base64url'))).toBe(false)
  })
  test.each<[string, (signature: string) => string]>([
    ['nothing', () => ''],
    ['padded', (signature) => `${signature}=`],
    ['with a stray octet', (signature) => `${signature}A`],
    ['with a stray character', (signature) => `${signature}!`],
    ['in the other alphabet', (signature) => Buffer.from(signature, 'base64url').toString('base64')],
    ['cut', (signature) => signature.slice(0, -4)],
    ['zeros', (signature) => Buffer.alloc(Buffer.from(signature, 'base64url').length).toString('base64url')],
  ])('a signature that is %s is none', (_, change) => {
    const { signed, signature } = made(algorithm)
    const changed = change(signature)
    if (changed !== signature) expect(verifyJws(key, signed, changed)).toBe(false)
  })
  test('only one kind of key is one for it', () => {
    const fitting = ALGORITHMS.filter((each) => fitsAlgorithm(algorithm, KEYS[each].privateKey))
    expect(fitting).toEqual([algorithm])
  })
})

test('the bits that base64url leaves over are zero: a signature has one spelling', () => {
  const { signed, signature } = made('ES256')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(signature.at(-1) as string)
  const twin = signature.slice(0, -1) + alphabet[last ^ 1]
  expect(Buffer.from(twin, 'base64url')).toEqual(Buffer.from(signature, 'base64url'))
  expect(verifyJws({ algorithm: 'ES256', ...KEYS.ES256 }, signed, twin)).toBe(false)
})

test.each([
  ['P-384', generateKey('P-384'), 'ES256'],
  ['RSA of 1,024 bits', generateKey('RSA', 1_024), 'RS256'],
] as const)('%s is no key for %s', (_, { privateKey }, algorithm) => {
  expect(fitsAlgorithm(algorithm, privateKey)).toBe(false)
})

test('a signature in DER and the one of JWS are the same numbers', () => {
  const { privateKey, publicKey } = KEYS.ES256
  for (let at = 0; at < 500; at += 1) {
    const data = randomBytes(16)
    const raw = rawSignature(sign('sha256', data, privateKey))
    expect(raw.length).toBe(64)
    expect(verify('sha256', data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, raw)).toBe(true)
  }
})
