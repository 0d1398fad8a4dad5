/**
 * Tokens that are not what they say, at applications with sessions of every binding and at one without: forged, bent, stolen, played back,
 * shown in place of another kind. None of them gets a request to the origin that its certificate would not have got.
 */

import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { openRaw } from '../../support/raw-https.ts'
import { ACTOR, freshHex } from '../../support/registry.ts'
import { makeSigningKey } from '../../support/signing-keys.ts'
import {
  cookieIn,
  get,
  openSites,
  part,
  readJwt,
  sessionOf,
  signJwt,
  stolenSigningKey,
  textOf,
  type Jwt,
} from './door/target.ts'
import type { Heard, Who } from './attacker.ts'

const HOUR = 3_600_000
let door: DoorHarness
let lamp: TestLeaf
let boss: TestLeaf
let kid: string
let key: KeyObject
let jwk: Record<string, unknown>
/** genuine, by host, of lamp */
const sessions: Record<string, string> = {}
let bosses: string
/** genuine: what the origin was told */
let assertion: string
const ids: Record<string, string> = {}
const HOSTS = ['bound.test', 'spki.test', 'free.test', 'none.test'] as const
beforeAll(async () => {
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  boss = await door.device('boss-1')
  for (const name of ['bound', 'boss', 'spki', 'free', 'none', 'strict']) ids[name] = freshHex(32)
  await openSites(door, {
    hostnames: HOSTS,
    policies: [
      { name: 'boss', include: [{ common_name: { common_name: 'boss-1' } }] },
      { name: 'never', sessionDuration: 0 },
    ],
    sites: [
      { name: 'bound', id: ids['bound'] as string, hostnames: ['bound.test'], sessionDuration: HOUR },
      {
        name: 'boss',
        id: ids['boss'] as string,
        hostnames: ['bound.test', 'free.test'],
        sessionDuration: HOUR,
        tokenBinding: 'none',
        https: { path: '/boss/*' },
        policies: ['boss'],
      },
      {
        name: 'spki',
        id: ids['spki'] as string,
        hostnames: ['spki.test'],
        sessionDuration: HOUR,
        tokenBinding: 'spki',
      },
      {
        name: 'free',
        id: ids['free'] as string,
        hostnames: ['free.test'],
        sessionDuration: HOUR,
        tokenBinding: 'none',
      },
      // a duration that no policy leaves
      {
        name: 'strict',
        id: ids['strict'] as string,
        hostnames: ['free.test'],
        sessionDuration: HOUR,
        tokenBinding: 'none',
        https: { path: '/strict/*' },
        policies: ['never'],
      },
      { name: 'none', id: ids['none'] as string, hostnames: ['none.test'] },
    ],
  })
  for (const host of ['bound.test', 'spki.test', 'free.test'])
    sessions[host] = await sessionOf(door, lamp, host)
  bosses = await sessionOf(door, boss, 'bound.test')
  const seen = door.origin.seen.find(({ headers }) => headers['host']?.[0] === 'bound.test')
  assertion = seen?.headers['cf-access-jwt-assertion']?.[0] ?? ''
  ;({ kid, key } = await stolenSigningKey(door))
  jwk = createPublicKey(key).export({ format: 'jwk' }) as Record<string, unknown>
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
})

const genuine = (host = 'bound.test'): Jwt => readJwt(sessions[host] ?? '')
const asCookie = (token: string): string => `Cookie: CF_Authorization=${token}`
const asHeader = (token: string): string => `cf-access-token: ${token}`
const show = (host: string, headers: readonly string[], who?: Who, target = '/x'): Promise<Heard> =>
  get(door, target, { host, headers, who })

const nobody = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const edwards = generateKeyPairSync('ed25519')
const hmac = (header: unknown, claims: unknown, secret: string | Buffer, digest = 'sha256'): string => {
  const text = `${part(header)}.${part(claims)}`
  return `${text}.${createHmac(digest, secret).update(text).digest('base64url')}`
}
const pem = (): string => createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString()

/** A token that nobody with the signing key has made; `of` is a genuine one of that host. */
const forgeries: readonly [string, (of: Jwt) => string][] = [
  ['alg none', ({ header, claims }) => `${part({ ...header, alg: 'none' })}.${part(claims)}.`],
  ['alg NONE', ({ header, claims }) => `${part({ ...header, alg: 'NONE' })}.${part(claims)}.`],
  [
    'alg nOnE, with the signature',
    ({ header, claims, signature }) => `${part({ ...header, alg: 'nOnE' })}.${part(claims)}.${signature}`,
  ],
  ['alg none, two parts', ({ header, claims }) => `${part({ ...header, alg: 'none' })}.${part(claims)}`],
  ['no alg', ({ claims, signature }) => `${part({ kid, typ: 'session+jwt' })}.${part(claims)}.${signature}`],
  [
    'alg is a list',
    ({ header, claims, signature }) =>
      `${part({ ...header, alg: ['ES256', 'none'] })}.${part(claims)}.${signature}`,
  ],
  [
    'alg twice, none last',
    ({ header, claims, signature }) =>
      `${part(JSON.stringify(header).replace('{', '{"alg":"ES256",').replace(/}$/, ',"alg":"none"}'))}.${part(claims)}.${signature}`,
  ],
  [
    'HS256 with the public key, PEM',
    ({ header, claims }) => hmac({ ...header, alg: 'HS256' }, claims, pem()),
  ],
  [
    'HS256 with the public key, PEM without its line break',
    ({ header, claims }) => hmac({ ...header, alg: 'HS256' }, claims, pem().trim()),
  ],
  [
    'HS256 with the public key, DER',
    ({ header, claims }) =>
      hmac({ ...header, alg: 'HS256' }, claims, createPublicKey(key).export({ format: 'der', type: 'spki' })),
  ],
  [
    'HS256 with the JWK',
    ({ header, claims }) => hmac({ ...header, alg: 'HS256' }, claims, JSON.stringify(jwk)),
  ],
  [
    'HS256 with x',
    ({ header, claims }) =>
      hmac({ ...header, alg: 'HS256' }, claims, Buffer.from(String(jwk['x']), 'base64url')),
  ],
  ['HS256 with the kid', ({ header, claims }) => hmac({ ...header, alg: 'HS256' }, claims, kid)],
  ['HS256 with nothing', ({ header, claims }) => hmac({ ...header, alg: 'HS256' }, claims, '')],
  [
    'HS512 with the public key',
    ({ header, claims }) => hmac({ ...header, alg: 'HS512' }, claims, pem(), 'sha512'),
  ],
  ['another’s key, the real kid', ({ header, claims }) => signJwt(header, claims, nobody.privateKey)],
  [
    'RS256, the real kid',
    ({ header, claims }) => signJwt({ ...header, alg: 'RS256' }, claims, rsa.privateKey),
  ],
  ['RS256 that says ES256', ({ header, claims }) => signJwt(header, claims, rsa.privateKey)],
  [
    'EdDSA, the real kid',
    ({ header, claims }) => signJwt({ ...header, alg: 'EdDSA' }, claims, edwards.privateKey),
  ],
  ['ES256 over RS256’s name', ({ header, claims }) => signJwt({ ...header, alg: 'RS256' }, claims, key)],
  [
    'ES384',
    ({ header, claims, signature }) => `${part({ ...header, alg: 'ES384' })}.${part(claims)}.${signature}`,
  ],
  [
    'a signature of zeros',
    ({ header, claims }) => `${part(header)}.${part(claims)}.${Buffer.alloc(64).toString('base64url')}`,
  ],
  [
    'a signature of the curve’s order',
    ({ header, claims }) => {
      const n = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
      return `${part(header)}.${part(claims)}.${Buffer.from(n + n, 'hex').toString('base64url')}`
    },
  ],
  [
    'a signature in DER',
    ({ header, claims, signature }) => {
      const raw = Buffer.from(signature, 'base64url')
      const int = (bytes: Buffer): Buffer => Buffer.concat([Buffer.of(2, 33, 0), bytes])
      const body = Buffer.concat([int(raw.subarray(0, 32)), int(raw.subarray(32))])
      return `${part(header)}.${part(claims)}.${Buffer.concat([Buffer.of(0x30, body.length), body]).toString('base64url')}`
    },
  ],
  [
    'the signature and more',
    ({ header, claims, signature }) => `${part(header)}.${part(claims)}.${signature}AAAA`,
  ],
  [
    'the signature cut',
    ({ header, claims, signature }) => `${part(header)}.${part(claims)}.${signature.slice(0, -4)}`,
  ],
  ['no signature', ({ header, claims }) => `${part(header)}.${part(claims)}.`],
  [
    'four parts',
    ({ header, claims, signature }) => `${part(header)}.${part(claims)}.${signature}.${signature}`,
  ],
  [
    'five parts, as if it were encrypted',
    ({ header }) => `${part({ ...header, alg: 'dir', enc: 'A128GCM' })}.e30.e30.e30.e30`,
  ],
  [
    'a later exp',
    ({ header, claims, signature }) =>
      `${part(header)}.${part({ ...claims, exp: Number(claims['exp']) + 9_999 })}.${signature}`,
  ],
  [
    'another’s name',
    ({ header, claims, signature }) =>
      `${part(header)}.${part({ ...claims, common_name: 'boss-1' })}.${signature}`,
  ],
  ['no kid', ({ claims }) => signJwt({ alg: 'ES256', typ: 'session+jwt' }, claims, nobody.privateKey)],
  [
    'a kid that nobody knows',
    ({ header, claims }) => signJwt({ ...header, kid: 'x' }, claims, nobody.privateKey),
  ],
  [
    'a kid that is a path',
    ({ header, claims }) =>
      signJwt({ ...header, kid: '../../../../../../dev/null' }, claims, nobody.privateKey),
  ],
  [
    '… and an empty secret',
    ({ header, claims }) => hmac({ ...header, alg: 'HS256', kid: '/dev/null' }, claims, ''),
  ],
  [
    'a kid that is SQL',
    ({ header, claims }) => signJwt({ ...header, kid: "x' OR '1'='1" }, claims, nobody.privateKey),
  ],
  [
    'a kid that is a URL',
    ({ header, claims }) => signJwt({ ...header, kid: 'http://127.0.0.1:1/x' }, claims, nobody.privateKey),
  ],
  [
    'a kid that is every object’s',
    ({ header, claims }) => signJwt({ ...header, kid: '__proto__' }, claims, nobody.privateKey),
  ],
  [
    'a kid that is a method',
    ({ header, claims }) => signJwt({ ...header, kid: 'constructor' }, claims, nobody.privateKey),
  ],
  [
    'a kid that is a number',
    ({ header, claims }) => signJwt({ ...header, kid: 0 }, claims, nobody.privateKey),
  ],
  [
    'a kid that is an object',
    ({ header, claims }) => signJwt({ ...header, kid: { toString: kid } }, claims, nobody.privateKey),
  ],
  ['a kid in a list', ({ header, claims }) => signJwt({ ...header, kid: [kid] }, claims, nobody.privateKey)],
  [
    'a kid with NUL',
    ({ header, claims }) => signJwt({ ...header, kid: `${kid}\0` }, claims, nobody.privateKey),
  ],
  [
    'a key that it brings along',
    ({ header, claims }) =>
      signJwt(
        { ...header, kid: undefined, jwk: nobody.publicKey.export({ format: 'jwk' }) },
        claims,
        nobody.privateKey,
      ),
  ],
  [
    '… beside the real kid',
    ({ header, claims }) =>
      signJwt(
        { ...header, jwk: { ...nobody.publicKey.export({ format: 'jwk' }), kid } },
        claims,
        nobody.privateKey,
      ),
  ],
  [
    'jku',
    ({ header, claims }) =>
      signJwt({ ...header, jku: 'https://127.0.0.1:1/jwks' }, claims, nobody.privateKey),
  ],
  [
    'x5u',
    ({ header, claims }) => signJwt({ ...header, x5u: 'https://127.0.0.1:1/x' }, claims, nobody.privateKey),
  ],
  [
    'x5c of mine',
    ({ header, claims }) =>
      signJwt({ ...header, x5c: [Buffer.from(lamp.der).toString('base64')] }, claims, lamp.privateKey),
  ],
  ['signed with my certificate’s key', ({ header, claims }) => signJwt(header, claims, lamp.privateKey)],
  ['a header that is not JSON', ({ claims, signature }) => `${part('{')}.${part(claims)}.${signature}`],
  ['a header that is a list', ({ claims, signature }) => `${part('[]')}.${part(claims)}.${signature}`],
  ['claims that are null', ({ header, signature }) => `${part(header)}.${part('null')}.${signature}`],
  ['deep JSON', ({ header, signature }) => `${part(header)}.${part('['.repeat(2_000))}.${signature}`],
  ['nothing', () => '""'],
  ['dots', () => '..'],
  ['a word', () => 'true'],
  [
    'base64 with other letters',
    ({ header, claims, signature }) =>
      `${part(header)}.${part(claims)}.${signature.replaceAll('-', '+').replaceAll('_', '/')}=`,
  ],
]

describe.each(['bound.test', 'spki.test', 'free.test'] as const)('%s: a forged token', (host) => {
  const shapes = [asCookie, asHeader] as const
  test(`of ${forgeries.length} kinds, as cookie and as header, is worth nothing without a certificate, and refused beside a good one`, async () => {
    const wrong: Record<string, unknown> = {}
    for (const [n, [name, forge]] of forgeries.entries())
      // as cookie and as header by turns; the next hostname has them the other way round
      for (const shape of [shapes[(n + HOSTS.indexOf(host)) % 2] as (typeof shapes)[number]]) {
        door.origin.seen.length = 0
        const token = forge(genuine(host))
        const alone = await show(host, [shape(token)])
        const beside = await show(host, [shape(token)], lamp)
        if (
          door.origin.seen.length > 0 ||
          ![401, 403].includes(alone.status) ||
          beside.status !== 401 ||
          beside.reason !== 'token_invalid' ||
          cookieIn(alone.raw) !== undefined ||
          cookieIn(beside.raw) !== undefined
        )
          wrong[`${name}, ${shape.name}`] = {
            alone: [alone.status, alone.reason],
            beside: [beside.status, beside.reason],
            seen: door.origin.seen.length,
          }
      }
    expect(wrong).toEqual({})
  })
})

/** With the real key's good signature: only the claims are wrong. Without a certificate none of it may open anything; with one it must not open more. */
type Bent = [
  name: string,
  bend: (of: Jwt) => readonly [header: unknown, claims: unknown],
  /** `refused`: 401 `token_invalid` also beside a good certificate. `over`: a new session begins then */
  want: 'refused' | 'over',
]
const now = (): number => Math.floor(Date.now() / 1000)
const bent: readonly Bent[] = [
  ['typ JWT', ({ header, claims }) => [{ ...header, typ: 'JWT' }, claims], 'refused'],
  ['no typ', ({ header, claims }) => [{ ...header, typ: undefined }, claims], 'refused'],
  ['typ in capitals', ({ header, claims }) => [{ ...header, typ: 'JWT+SESSION' }, claims], 'refused'],
  ['type app', ({ header, claims }) => [header, { ...claims, type: 'app' }], 'refused'],
  ['no type', ({ header, claims }) => [header, { ...claims, type: undefined }], 'refused'],
  [
    'alg RS256, though the key is EC',
    ({ header, claims }) => [{ ...header, alg: 'RS256' }, claims],
    'refused',
  ],
  [
    'crit that nobody knows',
    ({ header, claims }) => [{ ...header, crit: ['exp2'], exp2: 1 }, claims],
    'refused',
  ],
  ['crit b64', ({ header, claims }) => [{ ...header, crit: ['b64'], b64: false }, claims], 'refused'],
  ['crit, empty', ({ header, claims }) => [{ ...header, crit: [] }, claims], 'refused'],
  ['another iss', ({ header, claims }) => [header, { ...claims, iss: 'https://evil.example' }], 'refused'],
  [
    'another host’s iss',
    ({ header, claims }) => [header, { ...claims, iss: 'https://none.test' }],
    'refused',
  ],
  ['no iss', ({ header, claims }) => [header, { ...claims, iss: undefined }], 'refused'],
  ['iss in a list', ({ header, claims }) => [header, { ...claims, iss: [claims['iss'], 'x'] }], 'refused'],
  ['aud of another application', ({ header, claims }) => [header, { ...claims, aud: [ids['none']] }], 'over'],
  ['aud of nothing', ({ header, claims }) => [header, { ...claims, aud: ['0'.repeat(64)] }], 'over'],
  ['no aud', ({ header, claims }) => [header, { ...claims, aud: undefined }], 'refused'],
  ['aud: empty', ({ header, claims }) => [header, { ...claims, aud: [] }], 'refused'],
  ['expired', ({ header, claims }) => [header, { ...claims, iat: now() - 7_200, exp: now() - 1 }], 'over'],
  ['expired long ago', ({ header, claims }) => [header, { ...claims, iat: 0, exp: 1 }], 'over'],
  ['no exp', ({ header, claims }) => [header, { ...claims, exp: undefined }], 'refused'],
  ['exp of words', ({ header, claims }) => [header, { ...claims, exp: '9999999999' }], 'refused'],
  [
    'exp that is no number',
    ({ header, claims }) => [header, JSON.stringify(claims).replace(/"exp":\d+/, '"exp":1e999')],
    'refused',
  ],
  ['exp before iat', ({ header, claims }) => [header, { ...claims, iat: now(), exp: now() - 100 }], 'over'],
  [
    'iat in the future',
    ({ header, claims }) => [header, { ...claims, iat: now() + 7_200, exp: now() + 9_000 }],
    'refused',
  ],
  ['nbf in the future', ({ header, claims }) => [header, { ...claims, nbf: now() + 7_200 }], 'refused'],
  ['no iat', ({ header, claims }) => [header, { ...claims, iat: undefined }], 'refused'],
  ['no jti', ({ header, claims }) => [header, { ...claims, jti: undefined }], 'refused'],
  ['claims in a list', ({ header, claims }) => [header, [claims]], 'refused'],
]

describe.each(['bound.test', 'free.test'] as const)(
  '%s: signed by the real key, with claims that are not so',
  (host) => {
    test.each(bent)('$0', async (_, bend, want) => {
      const [header, claims] = bend(genuine(host))
      const token = signJwt(header, claims, key)
      for (const shape of [asCookie, asHeader]) {
        const alone = await show(host, [shape(token)])
        expect([401, 403]).toContain(alone.status)
        expect(cookieIn(alone.raw)).toBeUndefined()
        expect(door.origin.seen).toEqual([])
      }
      const beside = await show(host, [asCookie(token)], lamp)
      if (want === 'refused') {
        expect([beside.status, beside.reason]).toEqual([401, 'token_invalid'])
        expect(door.origin.seen).toEqual([])
      } else if (beside.status === 200) expect(cookieIn(beside.raw)).not.toBe(token)
      else expect(beside.status).toBe(401)
    })
  },
)

describe('one kind in place of the other', () => {
  test('an assertion is no session: not as cookie, header, bearer or assertion, with a certificate or without', async () => {
    expect(readJwt(assertion)).toMatchObject({ header: { typ: 'JWT' }, claims: { type: 'app' } })
    for (const host of HOSTS)
      for (const line of [
        asCookie(assertion),
        asHeader(assertion),
        `Cf-Access-Jwt-Assertion: ${assertion}`,
        `Authorization: Bearer ${assertion}`,
      ]) {
        const { status } = await show(host, [line])
        expect([host, line.split(':')[0], [401, 403].includes(status)]).toEqual([
          host,
          line.split(':')[0],
          true,
        ])
      }
    expect(door.origin.seen).toEqual([])
    for (const shape of [asCookie, asHeader])
      expect((await show('bound.test', [shape(assertion)], lamp)).reason).toBe('token_invalid')
    expect(door.origin.seen).toEqual([])
  })

  test('an assertion with the type of a session, and a session with that of an assertion, signed: neither', async () => {
    const one = readJwt(assertion)
    const two = genuine('free.test')
    for (const token of [
      signJwt({ ...one.header, typ: 'session+jwt' }, one.claims, key),
      signJwt(one.header, { ...one.claims, type: 'session' }, key),
      signJwt({ ...two.header, typ: 'JWT' }, two.claims, key),
      signJwt(two.header, { ...two.claims, type: 'app' }, key),
    ])
      for (const host of ['bound.test', 'free.test'])
        expect((await show(host, [asCookie(token)])).status).not.toBe(200)
    expect(door.origin.seen).toEqual([])
  })

  test('a session is no assertion: what the origin gets is of another kind, and never the session', async () => {
    await show(
      'bound.test',
      [asCookie(sessions['bound.test'] ?? ''), `Cf-Access-Jwt-Assertion: ${sessions['bound.test']}`],
      lamp,
    )
    const told = door.origin.seen[0]?.headers['cf-access-jwt-assertion']
    expect(told).toHaveLength(1)
    expect(readJwt(told?.[0] ?? '')).toMatchObject({ header: { typ: 'JWT' }, claims: { type: 'app' } })
    expect(JSON.stringify(door.origin.seen[0]?.rawHeaders)).not.toContain(sessions['bound.test'])
  })

  test('where there is No Duration a session is nothing, and none is given', async () => {
    for (const token of Object.values(sessions)) {
      expect((await show('none.test', [asCookie(token)])).reason).toBe('certificate_required')
      const beside = await show('none.test', [asCookie(token), asHeader(token)], lamp)
      expect([beside.status, cookieIn(beside.raw)]).toEqual([200, undefined])
    }
    expect(
      (await show('free.test', [asCookie(sessions['free.test'] ?? '')], undefined, '/strict/x')).status,
    ).toBeOneOf([401, 403])
    expect(door.origin.seen.filter(({ target }) => target.startsWith('/strict'))).toEqual([])
    const strict = await show('free.test', [], lamp, '/strict/x')
    expect([strict.status, cookieIn(strict.raw)]).toEqual([200, undefined])
  })
})

describe('another’s', () => {
  test('another device’s session beside my certificate: bound to him', async () => {
    for (const shape of [asCookie, asHeader]) {
      const heard = await show('bound.test', [shape(bosses)], lamp)
      expect([heard.status, heard.reason]).toEqual([403, 'token_binding_mismatch'])
      expect((await show('bound.test', [shape(bosses)])).status).toBeOneOf([401, 403])
    }
    expect(door.origin.seen).toEqual([])
  })

  test('without any certificate a bound one is worth nothing', async () => {
    for (const host of ['bound.test', 'spki.test'])
      for (const shape of [asCookie, asHeader])
        expect((await show(host, [shape(sessions[host] ?? '')])).reason).toBe('certificate_required')
    expect(door.origin.seen).toEqual([])
  })

  test('with another certificate of the same name, and of the same key', async () => {
    const same = await door
      .device('lamp-1-b', { key: { privateKey: lamp.privateKey, publicKey: lamp.publicKey } })
      .catch(() => undefined)
    const foreign = door.pki.device({ id: 'lamp-1', by: door.pki.other.devices })
    const unknown = door.pki.device({ id: 'lamp-1' })
    for (const [who, host] of [
      [foreign, 'bound.test'],
      [unknown, 'bound.test'],
      [foreign, 'spki.test'],
      [unknown, 'spki.test'],
      // whoever shows a certificate is judged by it, whatever token comes along
      [foreign, 'free.test'],
      [unknown, 'free.test'],
      ...(same === undefined ? [] : [[same, 'bound.test'] as const]),
    ] as const)
      expect((await show(host, [asCookie(sessions[host] ?? '')], who)).status).toBeOneOf([401, 403])
    expect(door.origin.seen).toEqual([])
  })

  test('where it is not bound it opens as much as it was given for: not the application beside it, not another host', async () => {
    const free = sessions['free.test'] ?? ''
    expect((await show('free.test', [asCookie(free)])).status).toBe(200)
    door.origin.seen.length = 0
    for (const [host, target] of [
      ['free.test', '/boss/x'],
      ['bound.test', '/boss/x'],
      ['bound.test', '/x'],
      ['spki.test', '/x'],
      ['none.test', '/x'],
    ] as const)
      expect([host, target, (await show(host, [asCookie(free)], undefined, target)).status]).toEqual([
        host,
        target,
        expect.toBeOneOf([401, 403]),
      ])
    // and beside another's certificate it is that one who asks
    const heard = await show('free.test', [asCookie(free)], lamp, '/boss/x')
    expect(heard.reason).toBeOneOf(['policy_denied', 'token_binding_mismatch', 'session_expired'])
    expect(door.origin.seen).toEqual([])
  })

  test('a name in the claims is no name: free of its binding, with the boss’s name in it, signed', async () => {
    const { header, claims } = genuine('free.test')
    const token = signJwt(
      header,
      { ...claims, aud: [ids['boss']], common_name: 'boss-1', device_id: 'boss-1' },
      key,
    )
    expect((await show('free.test', [asCookie(token)], undefined, '/boss/x')).status).toBeOneOf([401, 403])
    expect(door.origin.seen).toEqual([])
  })

  test('a bound session that says it is not bound, signed: the application’s binding counts', async () => {
    const { header, claims } = genuine('bound.test')
    const { claims: free } = genuine('free.test')
    for (const cnf of [claims['cnf'], undefined, {}, { 'x5t#S256': '' }, null]) {
      const token = signJwt(header, { ...claims, binding: 'none', cert: free['cert'], cnf }, key)
      expect((await show('bound.test', [asCookie(token)])).status).toBeOneOf([401, 403])
    }
    expect(door.origin.seen).toEqual([])
  })
})

describe('more than one', () => {
  const of = (): string => sessions['free.test'] ?? ''
  const junk = (): string => `${of().slice(0, -8)}AAAAAAAA`
  const rows: readonly [string, () => readonly string[]][] = [
    [
      'two cookies, the good one first',
      () => [`Cookie: CF_Authorization=${of()}; CF_Authorization=${junk()}`],
    ],
    [
      'two cookies, the good one last',
      () => [`Cookie: CF_Authorization=${junk()}; CF_Authorization=${of()}`],
    ],
    ['two cookie fields', () => [asCookie(junk()), asCookie(of())]],
    ['cookie and header', () => [asCookie(of()), asHeader(junk())]],
    ['header and cookie', () => [asHeader(of()), asCookie(junk())]],
    ['two headers', () => [asHeader(of()), asHeader(junk())]],
    ['two in one header', () => [`cf-access-token: ${of()}, ${junk()}`]],
    ['the same cookie twice', () => [asCookie(of()), asCookie(of())]],
    ['a cookie that is empty, and a good one', () => [`Cookie: CF_Authorization=; CF_Authorization=${of()}`]],
    [
      'a header of an application, and a session of another',
      () => [asHeader(of()), asCookie(sessions['bound.test'] ?? '')],
    ],
  ]
  test.each(rows)('%s: none', async (_, lines) => {
    for (const who of [undefined, lamp]) {
      const heard = await show('free.test', lines(), who)
      expect([heard.status, heard.reason]).toEqual([401, 'token_invalid'])
    }
    expect(door.origin.seen).toEqual([])
  })
  test.each<[name: string, lines: () => readonly string[], alone: number]>([
    ['by another case', () => [`Cookie: cf_authorization=${of()}`], 403],
    ['with a space', () => [`Cookie: CF_Authorization =${of()}`], 403],
    ['percent-encoded', () => [`Cookie: CF%5FAuthorization=${of()}`], 403],
    ['in another header', () => [`Cookie2: CF_Authorization=${of()}`], 403],
    ['in a header of the client’s own', () => [`X: ${of()}`], 403],
    ['as bearer', () => [`Authorization: Bearer ${of()}`], 403],
    ['with underscores', () => [`cf_access_token: ${of()}`], 403],
    ['after NUL', () => [`Cookie: a=\0; CF_Authorization=${of()}`], 400],
    // by RFC 6265 it is a cookie like any other: quotes hold nothing together
    ['between two quotes', () => [`Cookie: a="; CF_Authorization=${of()}; b="`], 200],
    ['in trailing', () => [`Cookie: CF_Authorization_x=${of()}`], 403],
  ])('%s: does not open what it should not, and does not reach the origin', async (_, lines, want) => {
    const alone = await show('free.test', lines(), undefined, `/x?CF_Authorization=${of()}`)
    expect([alone.status, door.origin.seen.length]).toEqual([want, want === 200 ? 1 : 0])
    const beside = await show('free.test', lines(), lamp)
    expect(beside.status).toBe(want === 400 ? 400 : 200)
    const own = new Set(['Authorization', 'X'])
    for (const { rawHeaders } of door.origin.seen) {
      const values = rawHeaders.filter((__, at) => at % 2 === 1 && !own.has(rawHeaders[at - 1] ?? ''))
      expect(JSON.stringify(values)).not.toContain(of())
    }
  })
  test.each([
    ['as cookie', 'Cookie: CF_Authorization='],
    ['as header', 'cf-access-token: '],
  ])('a huge one, %s: refused', async (_, prefix) => {
    for (const size of [5_000, 15_000, 60_000, 1_000_000]) {
      const heard = await show('free.test', [`${prefix}${'e'.repeat(size)}.e30.x`], lamp)
      expect([size, heard.status]).toEqual([size, expect.toBeOneOf([0, 400, 401, 431])])
    }
    expect(door.origin.seen).toEqual([])
  })
})

describe('played back', () => {
  test('after logout: nothing, with its certificate or without; and nobody else is logged out', async () => {
    // a logout ends all that its device has begun, and lamp's are shown again below
    const leaving = await door.device('leaving-1')
    const mine = await sessionOf(door, leaving, 'free.test')
    const bound = await sessionOf(door, leaving, 'bound.test')
    const other = await sessionOf(door, boss, 'free.test')
    for (const [host, token] of [
      ['free.test', mine],
      ['bound.test', bound],
    ] as const) {
      const out = await get(door, '/cdn-cgi/access/logout', { host, headers: [asCookie(token)] })
      expect(out.status).toBe(200)
      expect(out.raw).toMatch(/set-cookie: ?CF_Authorization=;[^\r]*(max-age=0|expires=thu, 01 jan 1970)/i)
    }
    door.origin.seen.length = 0
    for (let n = 0; n < 3; n += 1) {
      expect((await show('free.test', [asCookie(mine)])).status).toBe(401)
      expect((await show('free.test', [asHeader(mine)])).status).toBe(401)
      expect((await show('bound.test', [asCookie(bound)])).status).toBeOneOf([401, 403])
    }
    expect(door.origin.seen).toEqual([])
    // the same certificate in a fresh handshake begins another one
    const again = await show('bound.test', [asCookie(bound)], leaving)
    expect([again.status, cookieIn(again.raw)]).toEqual([200, expect.any(String)])
    expect(cookieIn(again.raw)).not.toBe(bound)
    expect((await show('free.test', [asCookie(other)])).status).toBe(200)
  })

  test('logging out with a forged token ends nobody’s session', async () => {
    const mine = await sessionOf(door, lamp, 'free.test')
    const { header, claims } = readJwt(mine)
    for (const token of [
      signJwt(header, claims, nobody.privateKey),
      `${part({ ...header, alg: 'none' })}.${part(claims)}.`,
      signJwt({ ...header, kid: 'x' }, claims, nobody.privateKey),
    ])
      await get(door, '/cdn-cgi/access/logout', { host: 'free.test', headers: [asCookie(token)] })
    expect((await show('free.test', [asCookie(mine)])).status).toBe(200)
  })

  test('after the device is suspended, revoked, retired: at once, bound or not, and on a connection that stands', async () => {
    for (const state of ['suspended', 'revoked', 'retired'] as const) {
      const device = await door.device(`late-${state}`)
      const free = await sessionOf(door, device, 'free.test')
      const bound = await sessionOf(door, device, 'bound.test')
      using standing = await openRaw({ port: door.port, leaf: device, serverName: 'bound.test' })
      standing.send(textOf('/one', { host: 'bound.test', close: false, headers: [asCookie(bound)] }))
      await standing.until(/origin says ok/)
      await door.setState(device.id, state)
      door.origin.seen.length = 0
      standing.send(textOf('/two', { host: 'bound.test', close: false, headers: [asCookie(bound)] }))
      expect(await standing.closed()).not.toMatch(/ 200 [\s\S]* 200 /)
      expect((await show('free.test', [asCookie(free)])).status).toBe(403)
      expect((await show('bound.test', [asCookie(bound)], device)).status).toBe(403)
      expect(door.origin.seen).toEqual([])
    }
  })

  test('at its end, on the connection that it began on and on others', async () => {
    await door.putPolicy({ name: 'short', sessionDuration: 2_000 })
    await door.putApplication({
      name: 'short',
      id: freshHex(32),
      hostnames: ['free.test'],
      tokenBinding: 'none',
      https: { path: '/short/*', origin: door.origin.url },
      policies: ['short'],
    })
    using standing = await openRaw({ port: door.port, leaf: lamp, serverName: 'free.test' })
    const before = Date.now()
    standing.send(textOf('/short/1', { host: 'free.test', close: false }))
    const token = cookieIn(await standing.until(/origin says ok/)) ?? ''
    const exp = Number(readJwt(token).claims['exp'])
    expect(exp * 1000 - before).toBeLessThanOrEqual(3_000)
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, exp * 1000 - Date.now() + 20)))
    door.origin.seen.length = 0
    if (!standing.socket.closed)
      standing.send(textOf('/short/2', { host: 'free.test', close: false, headers: [asCookie(token)] }))
    expect(await standing.closed()).not.toMatch(/ 200 [\s\S]* 200 /)
    expect((await show('free.test', [asCookie(token)], undefined, '/short/3')).reason).toBe('session_expired')
    expect(door.origin.seen).toEqual([])
  })
})

describe('keys', () => {
  test('a token under the kid of another key of ours is that key’s or nobody’s', async () => {
    const secret = door.config.secrets.key_file
    const { readSecretKey } = await import('#runtime/secrets.ts')
    const second = makeSigningKey(freshHex(16), {
      secret: readSecretKey(secret),
      createdAt: Date.now() - HOUR,
      algorithm: 'RS256',
    })
    const { privateKey, publicKey: _, ...row } = second
    await door.registry.addAssertionKey(row, ACTOR)
    const { header, claims } = genuine('free.test')
    const tokens = [
      signJwt({ ...header, kid: second.kid }, claims, key),
      signJwt({ ...header, kid: second.kid, alg: 'RS256' }, claims, key),
      signJwt({ ...header, kid: second.kid, alg: 'ES256' }, claims, privateKey),
      signJwt({ ...header, alg: 'RS256' }, claims, privateKey),
      signJwt(header, claims, privateKey),
      hmac({ ...header, kid: second.kid, alg: 'HS256' }, claims, second.publicJwk),
      hmac({ ...header, kid: second.kid, alg: 'HS256' }, claims, second.certificate),
    ]
    for (const token of tokens) expect((await show('free.test', [asCookie(token)])).status).toBe(401)
    expect(door.origin.seen).toEqual([])
  })

  test('the public keys are public keys', async () => {
    const { body, status } = await get(door, '/cdn-cgi/access/certs', { host: 'free.test' })
    expect(status).toBe(200)
    expect(body).not.toMatch(/"(d|p|q|dp|dq|qi|k)":|PRIVATE/)
  })
})

test('get-identity says who asks, and nothing of anybody else; it lets no token out', async () => {
  const free = sessions['free.test'] ?? ''
  const of = async (headers: readonly string[], who?: Who) =>
    get(door, '/cdn-cgi/access/get-identity', { host: 'free.test', headers, who })
  expect((await of([])).status).toBeOneOf([401, 403])
  const mine = await of([], lamp)
  expect(mine.status).toBe(200)
  expect(JSON.parse(mine.body)).toMatchObject({ common_name: 'lamp-1', auth_status: 'SUCCESS' })
  for (const line of [asCookie(assertion), asCookie(`${free.slice(0, -8)}AAAAAAAA`)]) {
    const heard = await of([line])
    expect(heard.status).toBeOneOf([401, 403])
    expect(heard.body).not.toContain('lamp-1')
  }
  expect(mine.raw).not.toMatch(/eyJ/)
  expect(door.origin.seen).toEqual([])
})

test('no token of all that stands in the log', () => {
  const log = JSON.stringify(door.log)
  for (const token of [...Object.values(sessions), bosses, assertion]) {
    expect(log).not.toContain(token)
    expect(log).not.toContain(token.split('.')[2])
  }
})

test('the last: after the revocation of a device, an application, everything', async () => {
  const revoke = async (scope: 'device' | 'application' | 'everything', subject: string): Promise<void> => {
    const at = Date.now()
    await door.registry.revokeSessions({ scope, subject, before: at, expiresAt: at + 2 * HOUR }, at, ACTOR)
  }
  const free = sessions['free.test'] ?? ''
  const spki = sessions['spki.test'] ?? ''
  const other = await sessionOf(door, boss, 'free.test')
  const alive = async (): Promise<boolean[]> => [
    (await show('free.test', [asCookie(other)])).status === 200,
    (await show('free.test', [asCookie(free)])).status === 200,
    // a bound one that is good is not given again
    cookieIn((await show('spki.test', [asCookie(spki)], lamp)).raw) === undefined,
  ]
  expect(await alive()).toEqual([true, true, true])
  await revoke('device', 'boss-1')
  expect(await alive()).toEqual([false, true, true])
  await revoke('application', ids['free'] ?? '')
  expect(await alive()).toEqual([false, false, true])
  await revoke('everything', '')
  expect(await alive()).toEqual([false, false, false])
  expect((await show('free.test', [asHeader(free)])).reason).toBe('session_expired')
})
