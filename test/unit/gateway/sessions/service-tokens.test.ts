import crypto, { createHash } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ServiceToken } from '#fleet/credentials.ts'
import { createServiceTokenCheck } from '#gateway/sessions/service-tokens.ts'

const NOW = 1_000_000
const SECRET = `spst_${'s'.repeat(43)}`
const OLD_SECRET = `spst_${'o'.repeat(43)}`
const CLIENT_ID = `${'0a'.repeat(16)}.access`
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

const token = (over: Partial<ServiceToken> = {}): ServiceToken => ({
  id: 'st-1',
  name: 'backups',
  clientId: CLIENT_ID,
  hash: sha256(SECRET),
  previous: undefined,
  revision: 1,
  createdAt: 0,
  expiresAt: undefined,
  revokedAt: undefined,
  ...over,
})
const rotated = { hash: sha256(SECRET), previous: { hash: sha256(OLD_SECRET), until: NOW + 1 } }

const check = (rawHeaders: readonly string[], kept: ServiceToken | undefined = token()) =>
  createServiceTokenCheck({
    registry: { serviceToken: (clientId) => (clientId === kept?.clientId ? kept : undefined) },
    clock: () => NOW,
  })(rawHeaders).kind

const ID = ['CF-Access-Client-Id', CLIENT_ID]
const given = (secret: string) => [...ID, 'CF-Access-Client-Secret', secret]

describe('who it is, and until when', () => {
  test.each<[string, Partial<ServiceToken>, string, number]>([
    ['a token without end', {}, SECRET, Infinity],
    ['one that ends', { expiresAt: NOW + 9 }, SECRET, NOW + 9],
    ['the secret before', rotated, OLD_SECRET, NOW + 1],
    [
      'the secret before, of one that ends sooner',
      { ...rotated, expiresAt: NOW + 0.5 },
      OLD_SECRET,
      NOW + 0.5,
    ],
  ])('%s', (_, over, secret, expiresAt) => {
    const registry = { serviceToken: () => token(over) }
    expect(createServiceTokenCheck({ registry, clock: () => NOW })(given(secret))).toEqual({
      kind: 'good',
      id: 'st-1',
      name: 'backups',
      expiresAt,
    })
  })
})

describe('what is presented', () => {
  test.each<[string, readonly string[], ReturnType<typeof check>]>([
    ['nothing', [], 'absent'],
    ['both', given(SECRET), 'good'],
    ['in other letters', ['cf-access-client-id', CLIENT_ID, 'CF-ACCESS-CLIENT-SECRET', SECRET], 'good'],
    ['by underscores', ['cf_access_client_id', CLIENT_ID, 'cf_access_client_secret', SECRET], 'absent'],
    ['no secret', ID, 'refused'],
    ['no client id', ['CF-Access-Client-Secret', SECRET], 'refused'],
    ['an empty secret', given(''), 'refused'],
    ['two client ids', [...ID, ...given(SECRET)], 'refused'],
    ['two secrets', [...given(SECRET), 'CF-Access-Client-Secret', SECRET], 'refused'],
    ['a wrong secret', given(`${SECRET}x`), 'refused'],
    ['the hash', given(sha256(SECRET)), 'refused'],
    ['an unknown client', ['CF-Access-Client-Id', 'x.access', 'CF-Access-Client-Secret', SECRET], 'refused'],
    [
      'a client id in other letters',
      ['CF-Access-Client-Id', CLIENT_ID.toUpperCase(), ...given(SECRET).slice(2)],
      'refused',
    ],
    ['a secret of 100 KB', given('s'.repeat(100_000)), 'refused'],
    [
      'a client id of 100 KB',
      ['CF-Access-Client-Id', 'x'.repeat(100_000), ...given(SECRET).slice(2)],
      'refused',
    ],
  ])('%s', (_, rawHeaders, expected) => {
    expect(check(rawHeaders)).toBe(expected)
  })
})

describe('what is on record', () => {
  test.each<[string, Partial<ServiceToken>, string, ReturnType<typeof check>]>([
    ['revoked', { revokedAt: NOW + 1 }, SECRET, 'refused'],
    ['not yet expired', { expiresAt: NOW + 1 }, SECRET, 'good'],
    ['expired', { expiresAt: NOW }, SECRET, 'refused'],
    ['rotated: the new one', rotated, SECRET, 'good'],
    ['rotated: the one before', rotated, OLD_SECRET, 'good'],
    [
      'rotated: the one before, after its time',
      { ...rotated, previous: { ...rotated.previous, until: NOW } },
      OLD_SECRET,
      'refused',
    ],
    ['rotated and revoked: the one before', { ...rotated, revokedAt: 1 }, OLD_SECRET, 'refused'],
    ['a hash that is none', { hash: '' }, '', 'refused'],
    ['a hash of another length', { hash: 'ab' }, SECRET, 'refused'],
  ])('%s', (_, over, secret, expected) => {
    expect(check(given(secret), token(over))).toBe(expected)
  })
})

test('a registry that cannot be read lets nobody in', () => {
  const registry = {
    serviceToken: () => {
      throw new Error('locked')
    },
  }
  expect(createServiceTokenCheck({ registry, clock: () => NOW })(given(SECRET))).toEqual({ kind: 'refused' })
})

test('the same work for whoever it is: two comparisons that tell nothing', () => {
  const compared = vi.spyOn(crypto, 'timingSafeEqual')
  syncBuiltinESMExports()
  onTestFinished(() => {
    compared.mockRestore()
    syncBuiltinESMExports()
  })
  const count = (rawHeaders: readonly string[], kept?: ServiceToken): number => {
    compared.mockClear()
    check(rawHeaders, kept)
    return compared.mock.calls.length
  }
  const counts = [
    count(given(SECRET)),
    count(given('x')),
    count(given(OLD_SECRET), token(rotated)),
    count(given(SECRET), token({ revokedAt: 1 })),
    count(['CF-Access-Client-Id', 'nobody', 'CF-Access-Client-Secret', SECRET]),
  ]
  expect(counts).toEqual([2, 2, 2, 2, 2])
})
