/** The token's form against jose, and everything that is not a token of ours. */

import { createHmac, type KeyObject } from 'node:crypto'
import {
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  jwtVerify,
  SignJWT,
  type JSONWebKeySet,
} from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import { TOKEN_BINDINGS } from '#fleet/session.ts'
import { createAssertions } from '#gateway/assertion.ts'
import { signJws } from '#gateway/jws.ts'
import type { KeyRing } from '#gateway/key-ring.ts'
import { subjectOfToken } from '#gateway/sessions/revoked.ts'
import { mintSession, readSession, type NewSession } from '#gateway/sessions/session-token.ts'
import { makePki, type TestLeaf, type TestPki } from '../../../support/pki.ts'
import { makeSigningKey, ringOf } from '../../../support/signing-keys.ts'

const NOW = Date.UTC(2026, 10, 24, 12, 0, 0, 700)
const SECONDS = Math.floor(NOW / 1_000)
const APPLICATION = 'ab'.repeat(32)

const young = makeSigningKey('young', { createdAt: 2 })
const old = makeSigningKey('old', { createdAt: 1, algorithm: 'RS256' })
const ring = ringOf(young, old)
let pki: TestPki
let lamp: TestLeaf
beforeAll(() => {
  pki = makePki({ now: NOW })
  lamp = pki.device({ id: 'lamp-1' })
})

const session = (over: Partial<NewSession> = {}): NewSession => ({
  host: 'a.test',
  applicationId: APPLICATION,
  commonName: 'lamp-1',
  deviceId: 'lamp-1',
  anchor: undefined,
  issuedAt: NOW,
  expiresAt: NOW + HOUR,
  binding: 'certificate',
  leaf: lamp.facts,
  ...over,
})
const mint = (over: Partial<NewSession> = {}, keys: KeyRing = ring): string =>
  mintSession(keys.keys()[0] as never, session(over))
const read = (token: string, keys: KeyRing = ring) => readSession(keys.keys(), token)

const partsOf = (token: string): [string, string, string] => token.split('.') as [string, string, string]
const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const payloadOf = (token: string): string => Buffer.from(partsOf(token)[1], 'base64url').toString()
/** Signed by our own key, under the header of a session. */
const signed = (payload: string): string => signJws(young, partsOf(mint())[0], payload)
const changed = (change: Record<string, unknown>): string =>
  signed(JSON.stringify({ ...JSON.parse(payloadOf(mint())), ...change }))

const cnfOf = (token: string): object => decodeJwt(token)['cnf'] as object

describe('what is minted', () => {
  test.each(TOKEN_BINDINGS)('is read again: %s', (binding) => {
    const token = mint({ binding })
    const found = read(token)
    expect(found).toMatchObject({
      host: 'a.test',
      applicationId: APPLICATION,
      commonName: 'lamp-1',
      deviceId: 'lamp-1',
      anchor: undefined,
      issuedAt: NOW,
      expiresAt: SECONDS * 1_000 + HOUR,
      binding,
      fingerprint: lamp.facts.fingerprint,
      spki: binding === 'spki' ? lamp.facts.spkiSha256 : undefined,
    })
    expect(found?.leaf?.fingerprint).toBe(binding === 'none' ? lamp.facts.fingerprint : undefined)
    expect(found?.subject).toBe(subjectOfToken(found?.id ?? ''))
  })
  test.each(['ES256', 'RS256', 'EdDSA'] as const)('%s: verifies with another library', async (algorithm) => {
    const keys = ringOf(makeSigningKey('k', { algorithm }))
    const token = mint({}, keys)
    const set = createLocalJWKSet(JSON.parse(keys.published()) as JSONWebKeySet)
    const { payload, protectedHeader } = await jwtVerify(token, set, {
      currentDate: new Date(NOW),
      algorithms: [algorithm],
      typ: 'session+jwt',
      issuer: 'https://a.test',
      audience: APPLICATION,
    })
    expect(protectedHeader).toEqual({ alg: algorithm, kid: 'k', typ: 'session+jwt' })
    expect(payload).toMatchObject({ type: 'session', sub: '', iat: NOW / 1_000, exp: SECONDS + 3_600 })
    expect(read(token, keys)?.id).toBe(payload.jti)
  })
  test('holds what it must, and no more', () => {
    expect(Object.keys(decodeJwt(mint())).sort()).toEqual(
      ['aud', 'binding', 'cnf', 'common_name', 'device_id', 'exp', 'iat', 'iss', 'jti', 'sub', 'type'].sort(),
    )
    expect(decodeJwt(mint({ binding: 'spki' }))['cnf']).toEqual({
      'x5t#S256': Buffer.from(lamp.facts.fingerprint, 'hex').toString('base64url'),
      'spki#S256': Buffer.from(lamp.facts.spkiSha256, 'hex').toString('base64url'),
    })
  })
  test('has a name of its own each time', () => {
    expect(new Set(Array.from({ length: 50 }, () => decodeJwt(mint()).jti)).size).toBe(50)
  })
  test('fits into a cookie, with a certificate in it too', () => {
    expect(mint({ binding: 'certificate' }).length).toBeLessThan(1_000)
    expect(mint({ binding: 'none' }).length).toBeLessThan(3_000)
  })
  test('is good under any key of the ring, and under none that has gone', () => {
    const token = mint({}, ringOf(old))
    expect(read(token)).toBeDefined()
    expect(read(token, ringOf(young))).toBeUndefined()
    expect(read(token, ringOf())).toBeUndefined()
  })
  test('a foreign name is told by its anchor', () => {
    const found = read(mint({ deviceId: undefined, anchor: 'partner', commonName: 'x","device_id":"lamp-1' }))
    expect(found).toMatchObject({
      deviceId: undefined,
      anchor: 'partner',
      commonName: 'x","device_id":"lamp-1',
    })
  })
})

describe('what nobody has signed for a session', () => {
  const hmac = (head: string, payload: string, key: string | KeyObject): string =>
    createHmac('sha256', key).update(`${head}.${payload}`).digest('base64url')
  const header = (over: Record<string, unknown>) =>
    encode({ alg: 'ES256', kid: 'young', typ: 'session+jwt', ...over })

  test.each<[string, () => string | Promise<string>]>([
    ['nothing', () => ''],
    ['no segments', () => 'x'],
    ['two segments', () => partsOf(mint()).slice(0, 2).join('.')],
    ['no signature', () => `${partsOf(mint()).slice(0, 2).join('.')}.`],
    ['four segments', () => `${mint()}.x`],
    ['a space around it', () => ` ${mint()}`],
    ['a line end behind it', () => `${mint()}\n`],
    ['quotes around it', () => `"${mint()}"`],
    ['padding', () => `${mint()}=`],
    ['more than 8 KiB', () => `${mint()}${'A'.repeat(9_000)}`],
    ['100 KB', () => 'A'.repeat(100_000)],
    [
      'another payload',
      () => {
        const [head, , signature] = partsOf(mint())
        return `${head}.${encode({ ...JSON.parse(payloadOf(mint())), common_name: 'lamp-2' })}.${signature}`
      },
    ],
    ['another token’s signature', () => `${partsOf(mint()).slice(0, 2).join('.')}.${partsOf(mint())[2]}`],
    ['alg none, without signature', () => `${header({ alg: 'none' })}.${partsOf(mint())[1]}.`],
    ['alg none, with one', () => `${header({ alg: 'none' })}.${partsOf(mint())[1]}.${partsOf(mint())[2]}`],
    ['alg None', () => `${header({ alg: 'None' })}.${partsOf(mint())[1]}.AA`],
    ['no alg', () => `${encode({ kid: 'young', typ: 'session+jwt' })}.${partsOf(mint())[1]}.AA`],
    [
      'HS256 by the public key, PEM',
      () => {
        const head = header({ alg: 'HS256', kid: 'old' })
        const [, payload] = partsOf(mint())
        return `${head}.${payload}.${hmac(head, payload, old.publicKey.export({ type: 'spki', format: 'pem' }).toString())}`
      },
    ],
    [
      'the header of ours, and an HMAC by the public key',
      () => {
        const [head, payload] = partsOf(mint({}, ringOf(old)))
        return `${head}.${payload}.${hmac(head, payload, old.publicKey.export({ type: 'spki', format: 'pem' }).toString())}`
      },
    ],
    [
      'the name of another key',
      () => {
        const [, payload] = partsOf(mint())
        return signJws(
          young,
          header({ kid: 'old', alg: 'ES256' }),
          Buffer.from(payload, 'base64url').toString(),
        )
      },
    ],
    [
      'the header of another key',
      () => {
        const [head] = partsOf(mint({}, ringOf(old)))
        return signJws(young, head, payloadOf(mint()))
      },
    ],
    ['an unknown kid', () => signJws(young, header({ kid: 'x' }), payloadOf(mint()))],
    ['a kid that is a path', () => signJws(young, header({ kid: '../../dev/null' }), payloadOf(mint()))],
    ['a kid that is SQL', () => signJws(young, header({ kid: "young' or 1=1 --" }), payloadOf(mint()))],
    ['a kid that is no text', () => signJws(young, header({ kid: ['young'] }), payloadOf(mint()))],
    [
      'a key of its own in the header',
      () =>
        signJws(
          makeSigningKey('mine'),
          header({ jwk: JSON.parse(makeSigningKey('mine').publicJwk) }),
          payloadOf(mint()),
        ),
    ],
    [
      'a key by address',
      () =>
        signJws(young, header({ jku: 'https://evil.test/k', x5u: 'https://evil.test/c' }), payloadOf(mint())),
    ],
    ['crit', () => signJws(young, header({ crit: ['b64'], b64: false }), payloadOf(mint()))],
    ['crit, empty', () => signJws(young, header({ crit: [] }), payloadOf(mint()))],
    ['zip', () => signJws(young, header({ zip: 'DEF' }), payloadOf(mint()))],
    [
      'a header with a member twice',
      () =>
        signJws(
          young,
          encode('{"alg":"none","alg":"ES256","kid":"young","typ":"session+jwt"}'),
          payloadOf(mint()),
        ),
    ],
    [
      'a header in another order',
      () => signJws(young, encode('{"typ":"session+jwt","alg":"ES256","kid":"young"}'), payloadOf(mint())),
    ],
    ['another typ', () => signJws(young, header({ typ: 'JWT' }), payloadOf(mint()))],
    ['no typ', () => signJws(young, encode({ alg: 'ES256', kid: 'young' }), payloadOf(mint()))],
    ['a typ in other letters', () => signJws(young, header({ typ: 'SESSION+JWT' }), payloadOf(mint()))],
    ['a key of somebody else', () => mint({}, ringOf(makeSigningKey('young')))],
    [
      'a JWT by another library under our key, without our header',
      () =>
        new SignJWT(JSON.parse(payloadOf(mint())))
          .setProtectedHeader({ alg: 'ES256', kid: 'young' })
          .sign(young.privateKey),
    ],
    [
      'the other encoding of the same signature (DER)',
      () => {
        const [head, payload] = partsOf(mint())
        return `${head}.${payload}.MEUCIQ`
      },
    ],
  ])('%s', async (_, make) => {
    expect(read(await make())).toBeUndefined()
  })

  test('one key’s signature under the name of another one of the same kind', () => {
    const two = ringOf(young, makeSigningKey('sister'))
    const [, head = ''] = two.keys().map(({ heads }) => heads['session+jwt'])
    expect(read(mint(), two)).toBeDefined()
    expect(read(signJws(young, head, payloadOf(mint())), two)).toBeUndefined()
  })
  test('an assertion, by the same key', () => {
    const assertion = createAssertions({ keys: ring, clock: () => NOW }).mint({
      hostname: 'a.test',
      applicationId: APPLICATION,
      commonName: 'lamp-1',
      deviceId: 'lamp-1',
      anchor: undefined,
      fingerprint: lamp.facts.fingerprint,
      notAfter: NOW + HOUR,
      method: 'GET',
      uri: 'https://a.test/',
      life: 30_000,
    }) as string
    expect(decodeProtectedHeader(assertion)).toMatchObject({ kid: 'young', typ: 'JWT' })
    expect(read(assertion)).toBeUndefined()
    // nor its claims under a session's header
    expect(read(signed(payloadOf(assertion)))).toBeUndefined()
  })
  test('and a session is no assertion: it says so in the header and in the claims', async () => {
    const set = createLocalJWKSet(JSON.parse(ring.published()) as JSONWebKeySet)
    await expect(jwtVerify(mint(), set, { currentDate: new Date(NOW), typ: 'JWT' })).rejects.toThrow()
    expect(decodeJwt(mint())['type']).toBe('session')
  })
})

describe('signed by us, and still not whole', () => {
  test.each<[string, () => string]>([
    ['not JSON', () => signed('x')],
    ['a list', () => signed('[]')],
    ['null', () => signed('null')],
    ['a member twice', () => signed(payloadOf(mint()).replace('{', '{"common_name":"lamp-2",'))],
    ['spaces', () => signed(payloadOf(mint()).replace(':', ': '))],
    ['type app', () => changed({ type: 'app' })],
    ['a subject', () => changed({ sub: 'x' })],
    ['no issuer', () => changed({ iss: undefined })],
    ['an issuer without TLS', () => changed({ iss: 'http://a.test' })],
    ['two audiences', () => changed({ aud: [APPLICATION, APPLICATION] })],
    ['an audience that is text', () => changed({ aud: APPLICATION })],
    ['an audience of another shape', () => changed({ aud: ['x'] })],
    ['no name', () => changed({ common_name: '' })],
    ['neither device nor anchor', () => changed({ device_id: undefined })],
    ['device and anchor', () => changed({ anchor: 'partner' })],
    ['a time that is text', () => changed({ exp: '9999999999' })],
    ['a time finer than ours', () => changed({ iat: 1_000_000.00001 })],
    ['an end that is no whole number', () => changed({ exp: 1.5 })],
    ['a claim that ours never have', () => changed({ nbf: 1 })],
    ['a confirmation of another kind', () => changed({ cnf: { ...cnfOf(mint()), jkt: 'x' } })],
    ['a certificate where it is bound to one', () => changed({ cert: 'AAAA' })],
    ['a key where it is not bound to it', () => changed({ cnf: { ...cnfOf(mint()), 'spki#S256': 'x' } })],
    ['an endless time', () => changed({ exp: 1e300 })],
    ['no time', () => changed({ exp: undefined })],
    ['no jti', () => changed({ jti: undefined })],
    ['no confirmation', () => changed({ cnf: undefined })],
    ['an empty confirmation', () => changed({ cnf: {} })],
    ['a confirmation of another length', () => changed({ cnf: { 'x5t#S256': 'AAAA' } })],
    ['an unknown binding', () => changed({ binding: 'maybe' })],
    ['no binding', () => changed({ binding: undefined })],
    ['binding spki without its key', () => changed({ binding: 'spki' })],
    ['binding none without its certificate', () => changed({ binding: 'none' })],
    ['binding none with rubbish', () => changed({ binding: 'none', cert: 'AAAA' })],
    [
      'binding none with another certificate',
      () =>
        changed({
          binding: 'none',
          cert: Buffer.from(pki.device({ id: 'lamp-1' }).der).toString('base64url'),
        }),
    ],
  ])('%s', (_, make) => {
    expect(read(make())).toBeUndefined()
  })
  test('the same way made, and nothing changed, it is one', () => {
    expect(read(changed({}))).toBeDefined()
  })
})
