import { decodeJwt, decodeProtectedHeader, jwtVerify, createLocalJWKSet, type JSONWebKeySet } from 'jose'
import { describe, expect, test } from 'vitest'
import { createAssertions, type AssertionClaims } from '#gateway/assertion.ts'
import { makeSigningKey, ringOf } from '../../support/signing-keys.ts'

const NOW = Date.UTC(2026, 10, 24, 12, 0, 0, 700)

const open = (ring = ringOf(makeSigningKey('k1'))) => {
  const assertions = createAssertions({ keys: ring, clock: () => NOW })
  return { mint: (over: Partial<AssertionClaims> = {}) => assertions.mint({ ...claims, ...over }) ?? '' }
}

const claims: AssertionClaims = {
  hostname: 'a.test',
  applicationId: 'a'.repeat(64),
  commonName: 'lamp-1',
  deviceId: 'lamp-1',
  anchor: undefined,
  fingerprint: 'ff'.repeat(32),
  notAfter: NOW + 3_600_000,
  method: 'GET',
  uri: 'https://a.test/x',
  life: 30_000,
}

describe('minting', () => {
  test('without a key there is none', () => {
    const assertions = createAssertions({ keys: ringOf(), clock: () => NOW })
    expect(assertions.mint(claims)).toBeUndefined()
  })
  test.each(['ES256', 'RS256', 'EdDSA'] as const)(
    '%s: verifies with any JOSE library, fifty times (short integers too)',
    async (algorithm) => {
      const ring = ringOf(makeSigningKey('k1', { algorithm }))
      const { mint } = open(ring)
      const keys = createLocalJWKSet(JSON.parse(ring.published()) as JSONWebKeySet)
      for (let at = 0; at < 50; at += 1)
        await jwtVerify(mint(), keys, { currentDate: new Date(NOW), algorithms: [algorithm], typ: 'JWT' })
    },
  )
  test('the newest signs', () => {
    const { mint } = open(
      ringOf(makeSigningKey('old', { createdAt: 1 }), makeSigningKey('new', { createdAt: 2 })),
    )
    expect(decodeProtectedHeader(mint())).toEqual({ alg: 'ES256', kid: 'new', typ: 'JWT' })
  })
  test('each has an id of its own', () => {
    const { mint } = open()
    const ids = Array.from({ length: 100 }, () => decodeJwt(mint()).jti)
    expect(new Set(ids).size).toBe(100)
  })
  test('expires when it is told to, and never after the certificate', () => {
    const { mint } = open()
    const seconds = Math.floor(NOW / 1_000)
    expect(decodeJwt(mint())).toMatchObject({ iat: seconds, exp: seconds + 30 })
    expect(decodeJwt(mint({ notAfter: NOW + 5_000 })).exp).toBe(seconds + 5)
    expect(decodeJwt(mint({ life: 90_000, notAfter: Infinity })).exp).toBe(seconds + 90)
  })
  test('a foreign certificate is no device', () => {
    const { mint } = open()
    const foreign = decodeJwt(mint({ deviceId: undefined, anchor: 'partner' }))
    expect(foreign).toMatchObject({ common_name: 'lamp-1', anchor: 'partner' })
    expect(foreign).not.toHaveProperty('device_id')
    expect(decodeJwt(mint())).not.toHaveProperty('anchor')
  })
  test('a service token is neither, and bound to no certificate', () => {
    const { mint } = open()
    const service = {
      deviceId: undefined,
      fingerprint: undefined,
      serviceTokenId: 'st-1',
      commonName: 'st-1',
    }
    const minted = decodeJwt(mint(service))
    expect(minted).toMatchObject({ type: 'app', common_name: 'st-1', service_token_id: 'st-1' })
    for (const claim of ['device_id', 'anchor', 'cnf']) expect(minted).not.toHaveProperty(claim)
  })
  test('a name is text, whatever is in it', () => {
    const { mint } = open()
    const commonName = 'x","device_id":"lamp-2","y":"\u0000\u2028é'
    expect(decodeJwt(mint({ commonName }))).toMatchObject({ common_name: commonName, device_id: 'lamp-1' })
  })
})
