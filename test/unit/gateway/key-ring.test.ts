import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createKeyRing } from '#gateway/key-ring.ts'
import type { AssertionKey } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { makeSigningKey, ringOf, SEALING_SECRET } from '../../support/signing-keys.ts'

type Published = {
  readonly keys: readonly Readonly<Record<string, unknown>>[]
  readonly public_cert?: { readonly kid: string; readonly cert: string }
  readonly public_certs: readonly { readonly kid: string; readonly cert: string }[]
}
const publishedBy = (...keys: readonly AssertionKey[]): Published =>
  JSON.parse(ringOf(...keys).published()) as Published

const old = makeSigningKey('old', { createdAt: 1, algorithm: 'EdDSA' })
const young = makeSigningKey('young', { createdAt: 2 })

test('before anything is loaded there is nothing', () => {
  const ring = ringOf()
  expect(ring.keys()).toEqual([])
  expect(JSON.parse(ring.published())).toEqual({ keys: [], public_certs: [] })
})

test('newest first, whatever order they come in, and the same array until the next load', () => {
  const ring = ringOf(old, young)
  expect(ring.keys().map(({ kid }) => kid)).toEqual(['young', 'old'])
  const before = ring.keys()
  expect(ring.keys()).toBe(before)
  ring.load([young])
  expect(ring.keys()).not.toBe(before)
  expect(ring.keys().map(({ kid }) => kid)).toEqual(['young'])
})

test('published are public halves and certificates, as Cloudflare Access writes them', () => {
  const { keys, public_cert, public_certs } = publishedBy(old, young)
  expect(keys).toEqual([
    {
      kty: 'EC',
      crv: 'P-256',
      x: expect.any(String),
      y: expect.any(String),
      kid: 'young',
      use: 'sig',
      alg: 'ES256',
    },
    { kty: 'OKP', crv: 'Ed25519', x: expect.any(String), kid: 'old', use: 'sig', alg: 'EdDSA' },
  ])
  expect(public_cert).toEqual({ kid: 'young', cert: young.certificate })
  expect(public_certs).toEqual([
    { kid: 'young', cert: young.certificate },
    { kid: 'old', cert: old.certificate },
  ])
  for (const [at, { cert }] of public_certs.entries()) {
    const key = createPublicKey({ key: keys[at] as never, format: 'jwk' })
    expect(new X509Certificate(cert).publicKey.equals(key)).toBe(true)
  }
})

test('an RSA key shows its modulus and exponent', () => {
  const { keys } = publishedBy(makeSigningKey('r', { algorithm: 'RS256' }))
  expect(Object.keys(keys[0] ?? {}).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use'])
})

describe('a row that cannot be used is no key', () => {
  test.each<[string, () => AssertionKey]>([
    ['sealed under another secret', () => makeSigningKey('young', { secret: randomBytes(32) })],
    ['of another row', () => ({ ...makeSigningKey('other'), kid: 'young' })],
    ['changed', () => ({ ...young, sealed: randomBytes(100) })],
    ['of another algorithm than its key', () => ({ ...young, algorithm: 'RS256' })],
    ['of no algorithm at all', () => ({ ...young, algorithm: 'none' as 'ES256' })],
  ])('%s', (_, broken) => {
    const lines: string[] = []
    const log = createLog('gateway', 'info', { write: (line) => void lines.push(line) })
    const ring = createKeyRing({ secret: SEALING_SECRET, log })
    ring.load([old, broken()])
    expect(ring.keys().map(({ kid }) => kid)).toEqual(['old'])
    expect(ring.published()).not.toContain('young')
    expect(lines.length).toBe(1)
  })
  test.each([
    ['another key’s', old.certificate],
    ['none', ''],
  ])('a certificate that is %s is left out, and the key is one', (_, certificate) => {
    const { keys, public_cert, public_certs } = publishedBy({ ...young, certificate })
    expect([keys.length, public_cert, public_certs]).toEqual([1, undefined, []])
  })
})

test('published is the half of what signs, whatever the row says', () => {
  const { keys } = publishedBy({ ...young, publicJwk: old.publicJwk })
  expect(keys[0]).toMatchObject({ kty: 'EC', kid: 'young' })
})
