import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, jwtVerify, createLocalJWKSet, type JSONWebKeySet } from 'jose'
import { describe, expect, test } from 'vitest'
import { createAssertions, rawSignature, type AssertionClaims } from '#gateway/assertion.ts'
import type { AssertionKey } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { assertionKeyAad, seal } from '#runtime/sealing.ts'

const NOW = Date.UTC(2026, 10, 24, 12, 0, 0, 700)
const secret = randomBytes(32)
const silent = createLog('gateway', 'silent')

const makeKey = (kid: string, createdAt: number, sealing = secret): AssertionKey => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' })
  return {
    kid,
    algorithm: 'ES256',
    publicJwk: JSON.stringify(publicKey.export({ format: 'jwk' })),
    sealed: seal(sealing, pkcs8, assertionKeyAad(kid)),
    createdAt,
  }
}
const open = () => createAssertions({ secret, clock: () => NOW, life: 30_000, log: silent })

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
}
const keySet = (jwks: string) => createLocalJWKSet(JSON.parse(jwks) as JSONWebKeySet)

describe('minting', () => {
  test('without a key there is none', () => {
    const assertions = open()
    expect(assertions.mint(claims)).toBeUndefined()
    expect(assertions.jwks()).toBe('{"keys":[]}')
  })
  test('verifies with any JOSE library, a thousand times (short integers too)', async () => {
    const assertions = open()
    assertions.load([makeKey('k1', 1)])
    const keys = keySet(assertions.jwks())
    for (let at = 0; at < 1_000; at += 1)
      await jwtVerify(assertions.mint(claims) ?? '', keys, { currentDate: new Date(NOW) })
  })
  test('each has an id of its own', () => {
    const assertions = open()
    assertions.load([makeKey('k1', 1)])
    const ids = Array.from({ length: 100 }, () => decodeJwt(assertions.mint(claims) ?? '').jti)
    expect(new Set(ids).size).toBe(100)
  })
  test('expires with the request, and never after the certificate', () => {
    const assertions = open()
    assertions.load([makeKey('k1', 1)])
    const seconds = Math.floor(NOW / 1_000)
    expect(decodeJwt(assertions.mint(claims) ?? '')).toMatchObject({ iat: seconds, exp: seconds + 30 })
    expect(decodeJwt(assertions.mint({ ...claims, notAfter: NOW + 5_000 }) ?? '').exp).toBe(seconds + 5)
  })
  test('a foreign certificate is no device', () => {
    const assertions = open()
    assertions.load([makeKey('k1', 1)])
    const foreign = decodeJwt(assertions.mint({ ...claims, deviceId: undefined, anchor: 'partner' }) ?? '')
    expect(foreign).toMatchObject({ common_name: 'lamp-1', anchor: 'partner' })
    expect(foreign).not.toHaveProperty('device_id')
    expect(decodeJwt(assertions.mint(claims) ?? '')).not.toHaveProperty('anchor')
  })
  test('a name is text, whatever is in it', () => {
    const assertions = open()
    assertions.load([makeKey('k1', 1)])
    const commonName = 'x","device_id":"lamp-2","y":"\u0000\u2028é'
    const minted = decodeJwt(assertions.mint({ ...claims, commonName }) ?? '')
    expect(minted).toMatchObject({ common_name: commonName, device_id: 'lamp-1' })
  })
})

describe('keys', () => {
  test('the newest signs, all are published, none of their private halves', () => {
    const assertions = open()
    assertions.load([makeKey('old', 1), makeKey('new', 2)])
    expect(decodeProtectedHeader(assertions.mint(claims) ?? '').kid).toBe('new')
    const { keys } = JSON.parse(assertions.jwks()) as JSONWebKeySet
    expect(keys.map(({ kid }) => kid)).toEqual(['new', 'old'])
    for (const key of keys) {
      expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    }
  })
  test.each<[string, () => AssertionKey]>([
    ['sealed under another secret', () => makeKey('new', 2, randomBytes(32))],
    ['of another row', () => ({ ...makeKey('other', 2), kid: 'new' })],
    ['changed', () => ({ ...makeKey('new', 2), sealed: randomBytes(100) })],
  ])('one that is %s neither signs nor is published', (_, broken) => {
    const assertions = open()
    assertions.load([makeKey('old', 1), broken()])
    expect(decodeProtectedHeader(assertions.mint(claims) ?? '').kid).toBe('old')
    expect(assertions.jwks()).not.toContain('"new"')
  })
  test('published is the half of what signs, whatever the row says', async () => {
    const assertions = open()
    const lying = { ...makeKey('k1', 1), publicJwk: makeKey('k2', 1).publicJwk }
    assertions.load([lying])
    await jwtVerify(assertions.mint(claims) ?? '', keySet(assertions.jwks()), { currentDate: new Date(NOW) })
  })
})

test('a signature in DER and the one of JWS are the same numbers', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  for (let at = 0; at < 500; at += 1) {
    const data = randomBytes(16)
    const raw = rawSignature(sign('sha256', data, privateKey))
    expect(raw.length).toBe(64)
    expect(verify('sha256', data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, raw)).toBe(true)
  }
})
