import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { MINUTE } from '#fleet/clock.ts'
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
  expect(ring.signer()).toBeUndefined()
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
    const ring = createKeyRing({ secret: SEALING_SECRET, clock: () => 0, log })
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

describe('who signs', () => {
  const NOW = Date.UTC(2026, 10, 24)
  const made = new Map([0, 1, 2].map((at) => [at, makeSigningKey(`k${at}`, { algorithm: 'EdDSA' })]))
  let now = NOW
  /** Keys of these ages, oldest first. */
  const ring = (...ages: readonly number[]) => {
    now = NOW
    const log = createLog('gateway', 'silent')
    const keys = createKeyRing({ secret: SEALING_SECRET, clock: () => now, log })
    keys.load(ages.map((age, at) => ({ ...(made.get(at) as AssertionKey), createdAt: NOW - age })))
    return keys
  }
  test.each<[string, readonly number[], string | undefined]>([
    ['none', [], undefined],
    ['the only one, made this moment', [0], 'k0'],
    ['the only one, dated ahead', [-MINUTE], 'k0'],
    ['the old one while the new one is not known yet', [60 * MINUTE, 4 * MINUTE], 'k0'],
    ['the new one when it is', [60 * MINUTE, 5 * MINUTE], 'k1'],
    ['not one that is dated ahead', [60 * MINUTE, -10 * MINUTE], 'k0'],
    ['the oldest where all are new', [3 * MINUTE, 2 * MINUTE, MINUTE], 'k0'],
    ['the oldest where all are dated ahead', [-MINUTE, -2 * MINUTE], 'k0'],
    ['the newest of those that are known', [60 * MINUTE, 6 * MINUTE, MINUTE], 'k1'],
  ])('%s', (_, ages, kid) => {
    const keys = ring(...ages)
    expect(keys.signer()?.kid).toBe(kid)
    // all are accepted and published
    expect(keys.keys()).toHaveLength(ages.length)
    const published = JSON.parse(keys.published()) as Published
    expect(published.keys).toHaveLength(ages.length)
    expect(published.public_cert?.kid).toBe(kid)
  })
  test('it changes by itself, and so does what is published', () => {
    const keys = ring(60 * MINUTE, 0)
    const before = keys.published()
    expect([keys.signer()?.kid, keys.published()]).toEqual(['k0', before])
    now += 5 * MINUTE
    expect(keys.signer()?.kid).toBe('k1')
    expect((JSON.parse(keys.published()) as Published).public_cert?.kid).toBe('k1')
  })
  test('what is left after the others were discarded signs at once', () => {
    const keys = ring(60 * MINUTE, 0)
    keys.load([{ ...(made.get(1) as AssertionKey), createdAt: now }])
    expect(keys.signer()?.kid).toBe('k1')
  })
})
