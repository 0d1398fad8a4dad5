/** Who gets through the HTTPS door, on real sockets: every refusal says its reason, and none of them reaches the origin. */

import { createPublicKey } from 'node:crypto'
import { compactVerify, createLocalJWKSet, importJWK, jwtVerify, type JSONWebKeySet } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import { makeCa, type Shape, type TestLeaf } from '../support/pki.ts'
import { openRaw, readReply, requestText, type RawOptions, type RawReply } from '../support/raw-https.ts'

let door: DoorHarness
let lamp: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
  door.log.length = 0
})

const get = requestText('/')

const expectRefused = (reply: RawReply, status: number, reason: string): void => {
  const problem = JSON.parse(reply.body) as Record<string, unknown>
  expect({ status: reply.status, reason: problem['reason'] }).toEqual({ status, reason })
  expect(problem).toMatchObject({ type: `urn:sallyport:problem:${reason}`, status })
  expect(reply.headers).toMatchObject({
    'content-type': 'application/problem+json',
    connection: 'close',
    'cache-control': 'no-store',
    'strict-transport-security': expect.stringContaining('max-age=') as string,
  })
  expect(reply.headers['server']).toBeUndefined()
  expect(door.origin.seen).toEqual([])
  // the word in the reply is the word in the log, under one request id
  expect(door.log).toContainEqual(expect.objectContaining({ reason, request_id: problem['request_id'] }))
}

describe('admitted', () => {
  test('a device, over TLS 1.3 and 1.2', async () => {
    for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
      const reply = await door.say(get, lamp, { tls: { minVersion: version, maxVersion: version } })
      expect(reply).toMatchObject({ status: 200, body: 'origin says ok' })
    }
    expect(door.origin.seen).toHaveLength(2)
    expect(door.log.filter(({ reason }) => reason === 'allowed')).toHaveLength(2)
  })
  test('with every kind of key, on both versions of TLS', async () => {
    for (const kind of ['P-384', 'P-521', 'Ed25519', 'RSA'] as const) {
      const leaf = await door.device(`key-${kind}`, { kind })
      for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
        const reply = await door.say(get, leaf, { tls: { minVersion: version, maxVersion: version } })
        expect([kind, version, reply.status]).toEqual([kind, version, 200])
      }
    }
  })
  test('without sending the intermediate: it is the trust anchor', async () => {
    const reply = await door.say(get, { ...lamp, fullPem: lamp.certPem })
    expect(reply.status).toBe(200)
  })
  test.each([
    ['in capitals', 'A.TEST', 'A.Test', 'a.test'],
    ['with a port', 'a.test', 'a.test:PORT', 'a.test:PORT'],
    ['with a dot', 'a.test', 'a.test.', 'a.test'],
    ['with a dot and the usual port', 'a.test', 'a.test.:443', 'a.test'],
  ])('the host %s; the origin hears one spelling of it', async (_, serverName, host, heard) => {
    const [asked, told] = [host, heard].map((name) => name.replace('PORT', String(door.port)))
    const reply = await door.say(requestText('/', { host: asked as string }), lamp, { serverName })
    expect(reply.status).toBe(200)
    expect(door.origin.seen[0]?.headers['host']).toEqual([told])
    expect(door.origin.seen[0]?.headers['x-forwarded-host']).toEqual([told])
  })
  test('a foreign device, as foreign, when an application is on its host', async () => {
    await door.putApplication({ hostnames: ['a.test', 'b.test'] })
    const theirs = door.pki.device({ by: door.pki.other.root, id: 'lamp-1' })
    const reply = await door.say(requestText('/', { host: 'b.test' }), theirs, { serverName: 'b.test' })
    expect(reply.status).toBe(200)
    expect(door.log).toContainEqual(
      expect.objectContaining({ reason: 'allowed', identity: 'partner/lamp-1' }),
    )
    const claims = claimsOf(door.origin.seen[0]?.headers['cf-access-jwt-assertion']?.[0] ?? '')
    expect(claims).toMatchObject({ common_name: 'lamp-1', anchor: 'partner', iss: 'https://b.test' })
    expect(claims).not.toHaveProperty('device_id')
  })
})

describe('refused by certificate', () => {
  test('none', async () => {
    expectRefused(await door.say(get), 403, 'certificate_required')
  })

  const shapes: readonly (readonly [Shape, string])[] = [
    ['noEku', 'certificate_wrong_purpose'],
    ['serverAuthOnly', 'certificate_wrong_purpose'],
    ['anyEku', 'certificate_wrong_purpose'],
    ['caTrue', 'certificate_wrong_purpose'],
    ['noDigitalSignature', 'certificate_wrong_purpose'],
    ['expired', 'certificate_expired'],
    ['notYetValid', 'certificate_not_yet_valid'],
  ]
  test.each(shapes)('really ours, but %s', async (shape, reason) => {
    expectRefused(await door.say(get, door.pki.device({ shape })), 403, reason)
  })
  test.each(['zeroSerial', 'negativeSerial', 'sha1'] as const)(
    'ours, but %s: nobody knows it',
    async (shape) => {
      const reply = await door.say(get, door.pki.device({ shape }))
      expect([reply.status, reply.body]).toEqual([
        403,
        expect.stringMatching(/certificate_(required|untrusted|weak_key)/),
      ])
      expect(door.origin.seen).toEqual([])
    },
  )

  test("another CA's, with our names throughout and a real device's name", async () => {
    const forged = door.pki.device({ by: door.pki.other.devices, id: 'lamp-1' })
    expectRefused(await door.say(get, forged), 403, 'certificate_untrusted')
  })
  test('expired for real: our own word for it; forged and expired: untrusted, although OpenSSL says the same of both', async () => {
    const real = await door.device('lamp-old', { shape: 'expired' })
    const forged = door.pki.device({ by: door.pki.other.devices, id: 'lamp-old', shape: 'expired' })
    expectRefused(await door.say(get, real), 403, 'certificate_expired')
    expectRefused(await door.say(get, forged), 403, 'certificate_untrusted')
    expectRefused(
      await door.say(get, door.pki.device({ by: door.pki.other.devices, shape: 'notYetValid' })),
      403,
      'certificate_untrusted',
    )
  })
  test('self-signed under the name of our intermediate', async () => {
    const self = makeCa({ name: 'Test Devices', now: door.pki.now, subjectDer: door.pki.devices.subjectDer })
    expectRefused(await door.say(get, door.pki.device({ by: self })), 403, 'certificate_untrusted')
  })
  test('by a leaf of ours that plays the CA', async () => {
    const fake = makeCa({ name: 'lamp-1', now: door.pki.now, by: door.pki.devices, ca: false })
    const child = door.pki.device({ by: fake, id: 'child' })
    expectRefused(
      await door.say(get, { ...child, fullPem: child.certPem + fake.pem + door.pki.devices.pem }),
      403,
      'certificate_untrusted',
    )
  })
  test("a server's, from our own root", async () => {
    const server = door.pki.server(['lamp-1'])
    expectRefused(
      await door.say(get, { ...server, fullPem: server.certPem + door.pki.services.pem }),
      403,
      'certificate_wrong_purpose',
    )
  })
  test('signed by our intermediate, never recorded', async () => {
    expectRefused(
      await door.say(get, await door.device('ghost', { registered: false })),
      403,
      'certificate_unknown',
    )
  })
  test('from another intermediate under our root, never recorded', async () => {
    const sister = makeCa({ name: 'Sister', now: door.pki.now, by: door.pki.root, pathLength: 0 })
    expectRefused(
      await door.say(get, door.pki.device({ by: sister, id: 'lamp-1' })),
      403,
      'certificate_unknown',
    )
  })
  test('a chain of hostile length and shape is answered quickly', async () => {
    // nine intermediates of one name and key, each able to have signed each: a search without bounds never ends
    const first = makeCa({ name: 'Loop', now: door.pki.now })
    const loop = Array.from({ length: 9 }, () =>
      makeCa({ name: 'Loop', now: door.pki.now, by: first, key: first }),
    )
    const leaf = door.pki.device({ by: first, id: 'lamp-1', shape: 'expired' })
    const before = performance.now()
    expectRefused(
      await door.say(get, { ...leaf, fullPem: leaf.certPem + loop.map(({ pem }) => pem).join('') }),
      403,
      'certificate_untrusted',
    )
    expect(performance.now() - before).toBeLessThan(1_000)
  })
})

describe('refused by host', () => {
  test.each<readonly [string, string, Partial<RawOptions>]>([
    ['no SNI', get, { serverName: null }],
    ['another Host than SNI', requestText('/', { host: 'b.test' }), {}],
    [
      'SNI of a host where the certificate is good, Host where it is not',
      requestText('/', { host: 'b.test' }),
      { serverName: 'a.test' },
    ],
    ['an address as Host', requestText('/', { host: '127.0.0.1' }), {}],
    ['an IPv6 address as Host', requestText('/', { host: '[::1]' }), {}],
    ['a host that only begins like it', requestText('/', { host: 'a.test.evil.test' }), {}],
  ])('%s', async (_, bytes, options) => {
    expectRefused(await door.say(bytes, lamp, options), 421, 'host_mismatch')
  })
  test('an unknown host, with and without a certificate', async () => {
    const bytes = requestText('/', { host: 'c.test' })
    expectRefused(await door.say(bytes, lamp, { serverName: 'c.test' }), 403, 'no_application')
    expectRefused(await door.say(bytes, undefined, { serverName: 'c.test' }), 403, 'no_application')
  })
  test("a good certificate of one host is nothing on another's", async () => {
    const reply = await door.say(requestText('/', { host: 'b.test' }), lamp, { serverName: 'b.test' })
    expectRefused(reply, 403, 'certificate_untrusted')
  })
  test.each([
    ['two', 'GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n'],
    ['two in different spelling', 'GET / HTTP/1.1\r\nHost: a.test\r\nhOST: b.test\r\n\r\n'],
    ['none', 'GET / HTTP/1.1\r\nX: y\r\n\r\n'],
    ['none, in HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
    ['an empty one', 'GET / HTTP/1.1\r\nHost: \r\n\r\n'],
    ['user information', 'GET / HTTP/1.1\r\nHost: x@a.test\r\n\r\n'],
    ['a path', 'GET / HTTP/1.1\r\nHost: a.test/b.test\r\n\r\n'],
    ['two names', 'GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n'],
    ['a port that is none', 'GET / HTTP/1.1\r\nHost: a.test:99999\r\n\r\n'],
  ])('%s Host fields', async (_, bytes) => {
    expectRefused(await door.say(bytes, lamp), 400, 'bad_request')
  })
})

describe('refused by target and method', () => {
  test.each([
    '/public/../admin',
    '/public/..%2fadmin',
    '/public/%2e%2e/admin',
    '//admin',
    '/a%00',
    '/a#b',
    '*',
    'https://b.test/',
    'http://a.test/',
    '/a\\b',
  ])('%s', async (target) => {
    expectRefused(await door.say(requestText(target), lamp), 400, 'bad_target')
  })
  test('OPTIONS *', async () => {
    expectRefused(await door.say(requestText('*', { method: 'OPTIONS' }), lamp), 400, 'bad_target')
  })
  test('absolute-form of this very host goes as origin-form', async () => {
    expect((await door.say(requestText('https://a.test/x?y'), lamp)).status).toBe(200)
    expect(door.origin.seen[0]?.target).toBe('/x?y')
  })
  test('what the policy judged is what the origin got', async () => {
    await door.say(requestText('/%61dmin/%7euser?q=%2e'), lamp)
    expect(door.origin.seen[0]?.target).toBe('/admin/~user?q=%2e')
  })
  test.each(['SOURCE', 'PURGE', 'M-SEARCH', 'NOTIFY', 'SUBSCRIBE'])(
    'the method %s, which is not HTTP’s',
    async (method) => {
      expectRefused(await door.say(requestText('/', { method }), lamp), 405, 'method_not_allowed')
    },
  )
  test.each(['PROPFIND', 'REPORT', 'QUERY', 'OPTIONS'])('but not %s', async (method) => {
    expect((await door.say(requestText('/', { method }), lamp)).status).toBe(200)
  })
  test('RTSP’s methods', async () => {
    const text = requestText('/', { method: 'PLAY' })
    for (const sent of [text, text.replace('HTTP/1.1', 'RTSP/1.0')])
      expect([400, 405]).toContain((await door.say(sent, lamp)).status)
  })
  test('TRACE and CONNECT', async () => {
    expectRefused(await door.say(requestText('/', { method: 'TRACE' }), lamp), 405, 'method_not_allowed')
    expectRefused(
      await door.say(requestText('a.test:443', { method: 'CONNECT' }), lamp),
      405,
      'method_not_allowed',
    )
  })
})

describe('the record and the policy, on the very next request', () => {
  test('suspended, resumed, revoked', async () => {
    const leaf = await door.device('lamp-2')
    const next = () => door.say(get, leaf)
    expect((await next()).status).toBe(200)
    door.origin.seen.length = 0
    await door.setState('lamp-2', 'suspended')
    expectRefused(await next(), 403, 'device_suspended')
    await door.setState('lamp-2', 'active')
    expect((await next()).status).toBe(200)
    door.origin.seen.length = 0
    await door.setState('lamp-2', 'revoked', 'keyCompromise')
    expectRefused(await next(), 403, 'certificate_revoked')
    await door.setState('lamp-2', 'retired')
    expectRefused(await next(), 403, 'device_retired')
  })
  test('policy changed, application removed, anchor removed', async () => {
    const next = () => door.say(get, lamp)
    await door.putPolicy({ include: [{ common_name: { common_name: 'another' } }] })
    expectRefused(await next(), 403, 'policy_denied')
    await door.putPolicy({})
    await door.putApplication({ https: { path: '/only', origin: door.origin.url } })
    expectRefused(await next(), 403, 'no_application')
    await door.putApplication({})
    await door.putAnchor({ hostnames: ['z.test'] })
    expectRefused(await next(), 403, 'certificate_untrusted')
    await door.putAnchor({})
    expect((await next()).status).toBe(200)
  })
  test('an anchor that is removed between handshake and request', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    await door.putAnchor({ pem: door.pki.other.devices.pem + door.pki.other.root.pem })
    client.send(get)
    expectRefused(readReply(await client.closed()), 403, 'certificate_untrusted')
    await door.putAnchor({})
  })
  test('two anchors on one host, for a rollover', async () => {
    const next = door.pki.device({ by: door.pki.other.root, id: 'lamp-1' })
    await door.putAnchor({ pem: door.pki.devices.pem + door.pki.root.pem + door.pki.other.root.pem })
    expect((await door.say(get, next)).status).toBe(200)
    expect((await door.say(get, lamp)).status).toBe(200)
    await door.putAnchor({})
  })
})

const claimsOf = (assertion: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>

describe('the assertion', () => {
  test('verifies with the published keys and says what the contract says', async () => {
    await door.say(
      requestText('/a/%62?secret=1', { method: 'POST', body: 'x', host: `a.test:${door.port}` }),
      lamp,
    )
    const assertion = door.origin.seen[0]?.headers['cf-access-jwt-assertion']?.[0] ?? ''
    const keys = await door.say(requestText('/cdn-cgi/access/certs'))
    expect(keys).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } })
    const set = JSON.parse(keys.body) as JSONWebKeySet
    expect(set.keys).toHaveLength(1)
    expect(set.keys[0]).not.toHaveProperty('d')
    const { payload, protectedHeader } = await jwtVerify(assertion, createLocalJWKSet(set), {
      issuer: 'https://a.test',
      algorithms: ['ES256'],
    })
    expect(protectedHeader).toEqual({ alg: 'ES256', kid: set.keys[0]?.kid, typ: 'JWT' })
    const { iat = 0, exp = 0, jti, aud, ...rest } = payload
    expect(rest).toEqual({
      type: 'app',
      iss: 'https://a.test',
      sub: '',
      common_name: 'lamp-1',
      device_id: 'lamp-1',
      cnf: { 'x5t#S256': Buffer.from(lamp.facts.fingerprint, 'hex').toString('base64url') },
      htm: 'POST',
      htu: `https://a.test:${door.port}/a/b`,
    })
    expect(aud).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)])
    expect(jti).toMatch(/^[0-9a-f-]{36}$/)
    expect(exp - iat).toBe(30)
  })
  test('is signed by exactly that key', async () => {
    await door.say(get, lamp)
    const assertion = door.origin.seen[0]?.headers['cf-access-jwt-assertion']?.[0] ?? ''
    const [key] = await door.registry.assertionKeys()
    const jwk = JSON.parse(key?.publicJwk ?? '') as Parameters<typeof importJWK>[0]
    expect(createPublicKey({ key: jwk as never, format: 'jwk' }).asymmetricKeyType).toBe('ec')
    await compactVerify(assertion, await importJWK(jwk, 'ES256'))
  })
  test('its keys are only where there is a host', async () => {
    const ask = (host: string, serverName: string | null, leaf?: TestLeaf) =>
      door.say(requestText('/cdn-cgi/access/certs', { host }), leaf, { serverName })
    expect((await ask('b.test', 'b.test')).status).toBe(200)
    expectRefused(await ask('c.test', 'c.test'), 403, 'no_application')
    expectRefused(await ask('b.test', 'a.test'), 421, 'host_mismatch')
    expectRefused(await ask('a.test', null), 421, 'host_mismatch')
  })
  test('its keys are read, not written; never is the path the origin’s', async () => {
    const path = '/cdn-cgi/access/certs'
    expectRefused(
      await door.say(requestText(path, { method: 'POST', body: 'x' }), lamp),
      405,
      'method_not_allowed',
    )
    expect((await door.say(requestText(path, { method: 'HEAD' }), lamp)).body).toBe('')
    expect((await door.say(requestText('/cdn-cgi/access/%63erts?x'), lamp)).body).toContain('"keys"')
    expect(door.origin.seen).toEqual([])
  })
})

test('what the door was told by nobody is in no log: no assertion, no cookie, no query', async () => {
  await door.say(
    requestText('/a?token=query-secret', {
      headers: ['Cookie: a=cookie-secret', 'Authorization: Bearer auth-secret'],
    }),
    lamp,
  )
  const assertion = door.origin.seen[0]?.headers['cf-access-jwt-assertion']?.[0] ?? ''
  const log = JSON.stringify(door.log)
  for (const secret of [assertion, 'query-secret', 'cookie-secret', 'auth-secret'])
    expect(log).not.toContain(secret)
})

test('verdicts are counted by their reasons', async () => {
  await door.say(get)
  expect(await door.metrics()).toMatch(
    /sallyport_decisions_total\{door="https",reason="certificate_required",desk="gateway"\} [1-9]/,
  )
})
