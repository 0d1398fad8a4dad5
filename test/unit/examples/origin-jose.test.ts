/** Whom `examples/origin-jose` believes, over every claim, and what it remembers. Behind a real door: test/system/example-origins.test.ts. */

import type { IncomingMessage } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { createReplayMemory } from '../../../examples/origin-jose/replay.ts'
import { createVerifier } from '../../../examples/origin-jose/verify.ts'

const AUDIENCE = 'a0'.repeat(32)
const FINGERPRINT = 'c1'.repeat(32)
const GATEWAY = new URL('https://gate.example:9443')
const NOW = Date.UTC(2026, 10, 25, 12)
const keys = await generateKeyPair('ES256')
const others = await generateKeyPair('ES256')

type Claims = Readonly<Record<string, unknown>>
const good: Claims = {
  type: 'app',
  iss: 'https://gate.example',
  aud: [AUDIENCE],
  sub: '',
  common_name: 'pump-7',
  device_id: 'pump-7',
  iat: NOW / 1_000,
  exp: NOW / 1_000 + 30,
  jti: 'one',
  cnf: { 'x5t#S256': Buffer.from(FINGERPRINT, 'hex').toString('base64url') },
  htm: 'GET',
  htu: 'https://gate.example:9443/a%20b',
}

type SignOptions = { readonly key?: CryptoKey; readonly kid?: string; readonly typ?: string }
const sign = (over: Claims = {}, o: SignOptions = {}): Promise<string> =>
  new SignJWT({ ...good, ...over })
    .setProtectedHeader({ alg: 'ES256', kid: o.kid ?? 'k', typ: o.typ ?? 'JWT' })
    .sign(o.key ?? keys.privateKey)

/** `certificate`: what Cf-Client-Cert-Sha256 says; null: it is not there */
type Sent = {
  readonly method?: string
  readonly url?: string
  readonly host?: string
  readonly certificate?: string | null
}
const asked = (assertion: string | undefined, o: Sent = {}): IncomingMessage => {
  const { method = 'GET', url = '/a%20b?c=1', host = GATEWAY.host, certificate = FINGERPRINT } = o
  const headers = {
    host,
    ...(certificate === null ? {} : { 'cf-client-cert-sha256': certificate }),
    ...(assertion === undefined ? {} : { 'cf-access-jwt-assertion': assertion }),
  }
  return { method, url, headers } as IncomingMessage
}

let published: Readonly<Record<string, CryptoKey>>
let fetches: string[]
let status: number
beforeEach(() => {
  vi.useFakeTimers({ now: NOW, toFake: ['Date'] })
  published = { k: keys.publicKey }
  fetches = []
  status = 200
  vi.stubGlobal('fetch', async (url: string) => {
    fetches.push(url)
    const jwk = async ([kid, key]: [string, CryptoKey]) => ({ ...(await exportJWK(key)), kid, alg: 'ES256' })
    return Response.json({ keys: await Promise.all(Object.entries(published).map(jwk)) }, { status })
  })
  return () => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
  }
})
const verifier = () => createVerifier({ gateway: GATEWAY, audience: AUDIENCE })

const proven = { certificate: FINGERPRINT }
const service = { device_id: undefined, service_token_id: 'robot-1', cnf: undefined }
test.each<[string, Claims, Sent, unknown]>([
  ['a device', {}, {}, { kind: 'device', id: 'pump-7', ...proven }],
  [
    'a foreign certificate, whatever it is called',
    { device_id: undefined, anchor: 'partner' },
    {},
    { kind: 'foreign', id: 'partner/pump-7', ...proven },
  ],
  [
    'a service token, which has no certificate',
    service,
    { certificate: null },
    { kind: 'service', id: 'robot-1' },
  ],
  [
    'the assertion alone, where the application leaves out the header',
    {},
    { certificate: null },
    { kind: 'device', id: 'pump-7', ...proven },
  ],
])('believes %s', async (_, claims, sent, caller) => {
  expect(await verifier()(asked(await sign(claims), sent))).toEqual({ ok: true, caller })
  expect(fetches).toEqual(['https://gate.example:9443/cdn-cgi/access/certs'])
})

describe('refuses an assertion', () => {
  test.each<[string, () => Promise<string> | string | undefined, Sent?]>([
    ['that is none', () => undefined],
    ['that is something else', () => 'x.y.z'],
    ['twice in one field', async () => `${await sign()}, ${await sign()}`],
    ['without a signature', () => new UnsecuredJWT(good).encode()],
    ['by another key', () => sign({}, { key: others.privateKey })],
    ['by a key that is not published', () => sign({}, { kid: 'other', key: others.privateKey })],
    ['that is a session token', () => sign({ type: 'session' }, { typ: 'session+jwt' })],
    ['of another typ', () => sign({}, { typ: 'dpop+jwt' })],
    ['of another type', () => sign({ type: 'session' })],
    ['from another hostname', () => sign({ iss: 'https://evil.example' })],
    ['from nobody', () => sign({ iss: undefined })],
    ['for another application', () => sign({ aud: ['b1'.repeat(32)] })],
    ['for no application', () => sign({ aud: undefined })],
    ['that has expired', () => sign({ exp: NOW / 1_000 })],
    ['that never expires', () => sign({ exp: undefined })],
    ['without a jti', () => sign({ jti: undefined })],
    ['for another method', () => sign(), { method: 'DELETE' }],
    ['for another path', () => sign(), { url: '/other' }],
    ['for another spelling of the path', () => sign(), { url: '/a%20b/' }],
    ['for an absolute target', () => sign(), { url: 'https://gate.example:9443/a%20b' }],
    ['for another host', () => sign(), { host: 'other.example' }],
    ['for no request', () => sign({ htm: undefined, htu: undefined })],
    ['of another certificate', () => sign(), { certificate: 'd2'.repeat(32) }],
    ['of no certificate', () => sign({ cnf: undefined })],
    ['of a certificate without a name', () => sign({ cnf: { 'x5t#S256': 7 } })],
    ['of nobody', () => sign({ device_id: undefined })],
  ])('%s', async (_, make, sent) => {
    expect(await verifier()(asked(await make(), sent))).toEqual({
      ok: false,
      status: 401,
      problem: expect.any(String),
    })
  })
})

test('an assertion is used once, and is not used up by a request that it is not for', async () => {
  const verify = verifier()
  const assertion = await sign()
  expect(await verify(asked(assertion, { url: '/other' }))).toMatchObject({ ok: false })
  const both = await Promise.all([verify(asked(assertion)), verify(asked(assertion))])
  expect(both.filter(({ ok }) => ok)).toHaveLength(1)
  expect(await verify(asked(assertion))).toEqual({
    ok: false,
    status: 401,
    problem: 'the assertion was used before',
  })
  expect(await verify(asked(await sign({ jti: 'two' })))).toMatchObject({ ok: true })
})

describe('keys', () => {
  test('are fetched once, and again for a kid that is new, at most once a second', async () => {
    const verify = verifier()
    const ask = async (jti: string, kid = 'k', key = keys.privateKey) =>
      (await verify(asked(await sign({ jti }, { kid, key })))).ok
    expect([await ask('1'), await ask('2'), fetches.length]).toEqual([true, true, 1])
    published = { n: others.publicKey }
    expect([await ask('3', 'n', others.privateKey), fetches.length]).toEqual([false, 1])
    vi.setSystemTime(NOW + 1_000)
    expect([await ask('3', 'n', others.privateKey), fetches.length]).toEqual([true, 2])
    // what was discarded is gone with it
    expect([await ask('4'), await ask('5', 'made-up'), fetches.length]).toEqual([false, false, 2])
  })
  test('that were discarded are not believed for longer than five minutes, with no new kid either', async () => {
    const verify = verifier()
    const exp = NOW / 1_000 + 3_600
    expect(await verify(asked(await sign({ jti: '1', exp })))).toMatchObject({ ok: true })
    published = {}
    vi.setSystemTime(NOW + 300_000)
    expect(await verify(asked(await sign({ jti: '2', exp })))).toMatchObject({ ok: false, status: 401 })
  })
  test.each([
    ['not there', () => (status = 503)],
    ['out of reach', () => vi.stubGlobal('fetch', () => Promise.reject(new TypeError('fetch failed')))],
    ['not keys', () => vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ keys: 'none' })))],
  ])('%s: 503, and nobody gets in', async (_, breakIt) => {
    breakIt()
    expect(await verifier()(asked(await sign()))).toMatchObject({ ok: false, status: 503 })
  })
})

test('the memory of what was used is bounded, forgets what has ended, and is full rather than wrong', () => {
  const memory = createReplayMemory(3)
  expect([memory.use('a', 100, 0), memory.use('b', 10, 0), memory.use('a', 100, 1)]).toEqual([
    'first',
    'first',
    'again',
  ])
  expect([memory.use('c', 20, 1), memory.use('d', 20, 2)]).toEqual(['first', 'full'])
  // b has ended behind a, which has not
  expect([memory.use('d', 20, 10), memory.use('a', 100, 10), memory.use('e', 30, 10)]).toEqual([
    'first',
    'again',
    'full',
  ])
  expect([memory.use('e', 130, 100), memory.use('a', 200, 100)]).toEqual(['first', 'first'])
})
