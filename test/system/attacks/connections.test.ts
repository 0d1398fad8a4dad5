/**
 * What stands (kept connections, WebSockets, running answers) and who would like it to stand longer than its permission: No Duration beside
 * sessions on one connection, revocation of everything that was let in, CRLs of a partner, the end of a session.
 */

import { hash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { openRaw, type RawClient } from '../../support/raw-https.ts'
import { ACTOR, freshHex, serviceToken } from '../../support/registry.ts'
import { OK, openByteOrigin, switching, type ByteOrigin } from './door/byte-origin.ts'
import {
  answersIn,
  cookieIn,
  endsSoon,
  get,
  openSites,
  readJwt,
  sessionOf,
  textOf,
  UPGRADE,
} from './door/target.ts'

const HOUR = 3_600_000
const HOST = 'mixed.test'
const SECRET = `spst_${'c'.repeat(43)}`
let door: DoorHarness
let bytes: ByteOrigin
let lamp: TestLeaf
const token = serviceToken({ hash: hash('sha256', SECRET), createdAt: Date.now() - 1_000 })
const TOKEN = [`CF-Access-Client-Id: ${token.clientId}`, `CF-Access-Client-Secret: ${SECRET}`]
beforeAll(async () => {
  bytes = await openByteOrigin(({ fields, target }, socket) => {
    if (target.endsWith('/login')) return void socket.write(OK)
    const up = fields.some(([name]) => name.toLowerCase() === 'upgrade')
    // a WebSocket that stays, or an answer that goes on and on
    socket.write(up ? switching() : 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n')
  })
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  await door.registry.createServiceToken(token, ACTOR)
  await openSites(door, {
    hostnames: [HOST],
    policies: [
      { name: 'never', sessionDuration: 0, include: [{ certificate: {} }, { any_valid_service_token: {} }] },
      {
        name: 'hour',
        sessionDuration: HOUR,
        include: [{ certificate: {} }, { any_valid_service_token: {} }],
      },
      { name: 'open', decision: 'bypass', include: [{ everyone: {} }] },
      { name: 'lamp-never', sessionDuration: 0, include: [{ common_name: { common_name: 'lamp-1' } }] },
    ],
    sites: [
      { name: 'never', hostnames: [HOST], policies: ['never'], sessionDuration: HOUR },
      { name: 'hour', hostnames: [HOST], policies: ['hour'], https: { path: '/hour/*' } },
      {
        name: 'either',
        hostnames: [HOST],
        policies: ['lamp-never', 'hour'],
        https: { path: '/either/*' },
        tokenBinding: 'none',
      },
      { name: 'open', hostnames: [HOST], policies: ['open'], https: { path: '/open/*' } },
      {
        name: 'stay',
        hostnames: [HOST],
        policies: ['hour'],
        https: { path: '/stay/*', origin: bytes.url, websocket: true },
      },
      ...(['free', 'bound'] as const).map((name) => ({
        name,
        hostnames: [HOST],
        policies: ['hour'],
        tokenBinding: name === 'free' ? ('none' as const) : ('certificate' as const),
        https: { path: `/${name}/*`, origin: bytes.url, websocket: true },
      })),
      {
        name: 'stay-open',
        hostnames: [HOST],
        policies: ['open'],
        https: { path: '/stay-open/*', origin: bytes.url, websocket: true },
      },
    ],
  })
})
afterAll(async () => {
  await door[Symbol.asyncDispose]()
  await bytes[Symbol.asyncDispose]()
})
beforeEach(() => {
  door.origin.seen.length = 0
  bytes.requests.length = 0
})

const at = (target: string, headers: readonly string[] = []): string =>
  textOf(target, { host: HOST, close: false, headers })
const open = (leaf?: TestLeaf): Promise<RawClient> => openRaw({ port: door.port, leaf, serverName: HOST })
const targets = (): string[] => door.origin.seen.map(({ target }) => target)

describe('No Duration beside sessions, on one connection', () => {
  const rows: readonly [
    name: string,
    who: 'lamp' | 'nobody',
    requests: readonly string[],
    served: readonly string[],
  ][] = [
    ['a session, then No Duration', 'lamp', [at('/hour/1'), at('/2')], ['/hour/1']],
    [
      'two of a session, then No Duration',
      'lamp',
      [at('/hour/1'), at('/hour/2'), at('/3')],
      ['/hour/1', '/hour/2'],
    ],
    ['No Duration, then a session', 'lamp', [at('/1'), at('/hour/2')], ['/1']],
    [
      'No Duration, then the public keys, then a session',
      'lamp',
      [at('/1'), at('/cdn-cgi/access/certs'), at('/hour/2')],
      ['/1'],
    ],
    ['the public keys, then No Duration', 'lamp', [at('/cdn-cgi/access/certs'), at('/2')], []],
    ['who am I, then No Duration', 'lamp', [at('/cdn-cgi/access/get-identity'), at('/2')], []],
    ['a bypass, then No Duration', 'lamp', [at('/open/1'), at('/2')], ['/open/1']],
    ['a refusal, then No Duration', 'lamp', [at('/hour/%00'), at('/2')], []],
    ['nothing here, then No Duration', 'lamp', [at('/cdn-cgi/access/nothing'), at('/2')], []],
    [
      'a policy of none, in an application with sessions',
      'lamp',
      [at('/either/1'), at('/either/2')],
      ['/either/1'],
    ],
    [
      'an application with sessions, then its policy of none',
      'lamp',
      [at('/hour/1'), at('/either/2')],
      ['/hour/1'],
    ],
    ['a service token, then No Duration', 'nobody', [at('/hour/1', TOKEN), at('/2', TOKEN)], ['/hour/1']],
    ['No Duration by a service token, twice', 'nobody', [at('/1', TOKEN), at('/2', TOKEN)], ['/1']],
    [
      'a bypass, then No Duration by a service token',
      'nobody',
      [at('/open/1'), at('/2', TOKEN)],
      ['/open/1'],
    ],
    ['a session, an Upgrade that is none', 'lamp', [at('/hour/1'), at('/2', UPGRADE)], ['/hour/1']],
    [
      'a session, then No Duration with Expect',
      'lamp',
      [at('/hour/1'), at('/2', ['Expect: 100-continue'])],
      ['/hour/1'],
    ],
  ]
  test.each(rows)(
    '%s: no second one of No Duration, pipelined or in turn',
    async (_, who, requests, served) => {
      for (const pipelined of [true, false]) {
        door.origin.seen.length = 0
        using client = await open(who === 'lamp' ? lamp : undefined)
        if (pipelined) client.send(requests.join(''))
        else
          for (const [n, text] of requests.entries()) {
            if (client.socket.destroyed || !client.socket.writable) break
            client.send(text)
            if (n < requests.length - 1)
              await vi.waitFor(
                () => {
                  if (answersIn(client.text()) <= n && !client.socket.destroyed)
                    throw new Error('no answer yet')
                },
                { timeout: 3_000, interval: 5 },
              )
          }
        const raw = await client.closed()
        expect([pipelined, targets()]).toEqual([pipelined, served])
        expect(raw).not.toMatch(/HTTP\/1\.1 2\d\d [\s\S]*HTTP\/1\.1 101/)
      }
    },
  )

  test('a request that is refused as not fresh says so, and the next handshake serves it', async () => {
    using client = await open(lamp)
    client.send(at('/hour/1') + at('/2'))
    const raw = await client.closed()
    expect(raw).toMatch(/HTTP\/1\.1 421 [\s\S]*handshake_not_fresh/)
    expect((await get(door, '/2', { host: HOST, who: lamp })).status).toBe(200)
  })

  test('a cookie of an application that admits me without a duration is none', async () => {
    const boss = await door.device('boss-1')
    // boss has a session there by the other policy; lamp’s policy gives none, whatever token it shows
    const bosses = await sessionOf(door, boss, HOST, '/either/login')
    door.origin.seen.length = 0
    const { header, claims } = readJwt(bosses)
    expect([header['typ'], claims['common_name']]).toEqual(['session+jwt', 'boss-1'])
    const given = await get(door, '/either/x', { host: HOST, who: lamp })
    expect([given.status, cookieIn(given.raw)]).toEqual([200, undefined])
    // without any certificate boss’s is his
    expect(
      (await get(door, '/either/x', { host: HOST, headers: [`Cookie: CF_Authorization=${bosses}`] })).status,
    ).toBe(200)
    const beside = await get(door, '/either/x', {
      host: HOST,
      who: lamp,
      headers: [`Cookie: CF_Authorization=${bosses}`],
    })
    expect([beside.status, cookieIn(beside.raw)]).toEqual([200, undefined])
  })
})

describe('on a connection of a session', () => {
  test('each request is judged: another’s token, a forged one, a path that is not mine', async () => {
    const boss = await door.device('boss-2')
    const bosses = await sessionOf(door, boss, HOST, '/hour/login')
    for (const [headers, reason] of [
      [[`Cookie: CF_Authorization=${bosses}`], 'token_binding_mismatch'],
      [[`cf-access-token: ${bosses.slice(0, -6)}AAAAAA`], 'token_invalid'],
      [['CF-Access-Client-Id: x', 'CF-Access-Client-Secret: y'], 'token_invalid'],
      [['Host: other.test'], 'bad_request'],
    ] as const) {
      door.origin.seen.length = 0
      using client = await open(lamp)
      client.send(at('/hour/1'))
      await client.until(/origin says ok/)
      client.send(at('/hour/2', headers))
      const raw = await client.until(/"reason": ?"\w+"/)
      expect(raw).toContain(reason)
      expect(targets()).toEqual(['/hour/1'])
    }
  })

  test('Host may not change to another hostname with the same anchor', async () => {
    using client = await open(lamp)
    client.send(at('/hour/1'))
    await client.until(/origin says ok/)
    client.send(textOf('/x', { host: 'a.test' }))
    expect(await client.closed()).toContain('host_mismatch')
    expect(targets()).toEqual(['/hour/1'])
  })

  test('smuggled in a body: still one request each', async () => {
    using client = await open(lamp)
    const inner = at('/evil')
    client.send(textOf('/hour/1', { host: HOST, body: inner, close: false }))
    await client.until(/origin says ok/)
    client.send(
      `POST /hour/2 HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`,
    )
    await vi.waitFor(() => expect(answersIn(client.text())).toBe(2))
    client.send(
      `POST /hour/3 HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
    )
    await client.closed()
    expect(targets()).toEqual(['/hour/1', '/hour/2'])
  })

  test('a body that the door did not wait for is not read as the next request', async () => {
    for (const first of [
      // refused before its body is read
      `POST /hour/%00 HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${at('/hour/evil').length}\r\n\r\n${at('/hour/evil')}`,
      `POST /cdn-cgi/access/certs HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${at('/hour/evil').length}\r\n\r\n${at('/hour/evil')}`,
      `POST /cdn-cgi/access/logout HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${at('/hour/evil').length}\r\n\r\n${at('/hour/evil')}`,
      `GET /cdn-cgi/access/get-identity HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${at('/hour/evil').length}\r\n\r\n${at('/hour/evil')}`,
      `POST /hour/x HTTP/1.1\r\nHost: ${HOST}\r\nOrigin: https://evil.example\r\nContent-Length: ${at('/hour/evil').length}\r\n\r\n${at('/hour/evil')}`,
      `POST /hour/x HTTP/1.1\r\nHost: ${HOST}\r\nExpect: 200-ok\r\nContent-Length: ${at('/hour/evil').length}\r\n\r\n${at('/hour/evil')}`,
    ]) {
      using client = await open(lamp)
      client.send(first)
      client.send(at('/hour/after'))
      await client.until(/HTTP\/1\.1 \d\d\d/)
      client.send(textOf('/hour/last', { host: HOST }))
      await client.closed()
      expect(targets()).not.toContain('/hour/evil')
    }
  })
})

/** Everything that was let in and stands: gone soon after `undo`. */
const stands: readonly [
  name: string,
  o: { who?: 'device' | 'token'; target: string; headers: readonly string[] },
][] = [
  ['a WebSocket', { who: 'device', target: '/stay/ws', headers: UPGRADE }],
  ['a running answer', { who: 'device', target: '/stay/answer', headers: [] }],
  ['a WebSocket of a service token', { who: 'token', target: '/stay/ws', headers: UPGRADE }],
  ['a running answer of a service token', { who: 'token', target: '/stay/answer', headers: [] }],
]
/** Another application in place of the one that was let in to. */
const stayAt = (path: string): Promise<void> =>
  door.putApplication({
    name: 'stay',
    id: freshHex(32),
    hostnames: [HOST],
    policies: ['hour'],
    https: { path, origin: bytes.url, websocket: true },
  })
const begin = async (
  leaf: TestLeaf | undefined,
  target: string,
  headers: readonly string[],
): Promise<RawClient> => {
  const client = await open(leaf)
  client.send(at(target, headers))
  await client.until(/101 Switching|begun/)
  return client
}

describe.each(stands)('%s', (_, { who, target, headers }) => {
  const all = who === 'token' ? [...headers, ...TOKEN] : headers
  const rows: readonly [string, (leaf: TestLeaf) => Promise<void>, (() => Promise<void>)?][] = [
    ...(who === 'token'
      ? []
      : ([
          ['the device is revoked', (leaf) => door.setState(leaf.id, 'revoked')],
          ['the device is suspended', (leaf) => door.setState(leaf.id, 'suspended')],
        ] as [string, (leaf: TestLeaf) => Promise<void>][])),
    [
      'its policy denies',
      () => door.putPolicy({ name: 'hour', decision: 'deny', include: [{ everyone: {} }] }),
      () =>
        door.putPolicy({
          name: 'hour',
          sessionDuration: HOUR,
          include: [{ certificate: {} }, { any_valid_service_token: {} }],
        }),
    ],
    ['its application goes elsewhere', () => stayAt('/moved/*'), () => stayAt('/stay/*')],
  ]
  test.each(rows)('ends when %s', async (__, undo, restore) => {
    const leaf = await door.device(`d-${freshHex(4)}`)
    using client = await begin(who === 'token' ? undefined : leaf, target, all)
    await undo(leaf)
    try {
      await endsSoon(client)
    } finally {
      await restore?.()
    }
  })
})

describe('a WebSocket by a session', () => {
  const revoke = async (scope: 'token' | 'device', subject: string): Promise<void> => {
    const now = Date.now()
    await door.registry.revokeSessions(
      { scope, subject, before: now + 999, expiresAt: now + HOUR },
      now,
      ACTOR,
    )
  }
  const ends: readonly [string, (leaf: TestLeaf, session: string) => Promise<unknown>][] = [
    [
      'its holder logs out',
      (_, session) =>
        get(door, '/cdn-cgi/access/logout', { host: HOST, headers: [`Cookie: CF_Authorization=${session}`] }),
    ],
    [
      'its token is revoked',
      (_, session) => revoke('token', hash('sha256', String(readJwt(session).claims['jti']))),
    ],
    ['the sessions of its device are revoked', (leaf) => revoke('device', leaf.id)],
    ['its device is revoked', (leaf) => door.setState(leaf.id, 'revoked')],
  ]
  test.each(ends)('without a certificate, by a token that is not bound: ends when %s', async (_, undo) => {
    const leaf = await door.device(`f-${freshHex(4)}`)
    const session = await sessionOf(door, leaf, HOST, '/free/login')
    using client = await begin(undefined, '/free/ws', [...UPGRADE, `Cookie: CF_Authorization=${session}`])
    await undo(leaf, session)
    await endsSoon(client)
  })
  test.each(ends)('with a certificate and its token: ends when %s', async (_, undo) => {
    const leaf = await door.device(`c-${freshHex(4)}`)
    const session = await sessionOf(door, leaf, HOST, '/bound/login')
    using client = await begin(leaf, '/bound/ws', [...UPGRADE, `Cookie: CF_Authorization=${session}`])
    await undo(leaf, session)
    await endsSoon(client)
  })
})

test('what a bypass let in ends when the bypass does', async () => {
  for (const headers of [UPGRADE, []]) {
    using client = await begin(undefined, '/stay-open/x', headers)
    await door.putPolicy({ name: 'open', decision: 'deny', include: [{ everyone: {} }] })
    await endsSoon(client)
    await door.putPolicy({ name: 'open', decision: 'bypass', include: [{ everyone: {} }] })
  }
})

test('the service token is revoked: its WebSocket and its running answer end', async () => {
  for (const headers of [UPGRADE, []]) {
    const one = serviceToken({ hash: hash('sha256', SECRET), createdAt: Date.now() - 1_000 })
    await door.registry.createServiceToken(one, ACTOR)
    using client = await begin(undefined, '/stay/x', [
      ...headers,
      `CF-Access-Client-Id: ${one.clientId}`,
      `CF-Access-Client-Secret: ${SECRET}`,
    ])
    await door.registry.revokeServiceToken({ id: one.id, now: Date.now(), actor: ACTOR })
    await endsSoon(client)
  }
})

test('a session that ends takes its WebSocket with it, and so does its certificate', async () => {
  await door.putPolicy({ name: 'brief', sessionDuration: 1_500 })
  await door.putApplication({
    name: 'brief',
    id: freshHex(32),
    hostnames: [HOST],
    policies: ['brief'],
    https: { path: '/brief/*', origin: bytes.url, websocket: true },
  })
  const short = await door.device('short-1', { notAfter: Math.ceil((Date.now() + 1_500) / 1000) * 1000 })
  using one = await begin(lamp, '/brief/ws', UPGRADE)
  using two = await begin(short, '/stay/ws', UPGRADE)
  await endsSoon(one)
  await endsSoon(two)
})

test('No Duration beside an Upgrade: a tunnel is one request, and ends as every one does', async () => {
  await door.putApplication({
    name: 'once',
    id: freshHex(32),
    hostnames: [HOST],
    policies: ['never'],
    https: { path: '/once/*', origin: bytes.url, websocket: true },
  })
  const leaf = await door.device('once-1')
  using client = await begin(leaf, '/once/ws', UPGRADE)
  client.send(at('/once/second') + at('/hour/second'))
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect([...bytes.requests.map(({ target }) => target), ...targets()]).toEqual(['/once/ws'])
  await door.setState('once-1', 'revoked')
  await endsSoon(client)
})

describe('an anchor that is taken away', () => {
  test('ends what came by it: kept connections at their next request, WebSockets and answers at once', async () => {
    const host = 'taken.test'
    const pem = door.pki.other.devices.pem + door.pki.other.root.pem
    await door.putAnchor({ name: 'taken', hostnames: [host], pem })
    await door.putApplication({
      name: 'taken',
      id: freshHex(32),
      hostnames: [host],
      policies: ['hour'],
      https: { path: '/*', origin: bytes.url, websocket: true },
    })
    const leaf = door.pki.device({ id: 'taken-1', by: door.pki.other.devices })
    await vi.waitFor(async () => expect((await get(door, '/login', { host, who: leaf })).status).toBe(200))
    const say = async (target: string, headers: readonly string[]): Promise<RawClient> => {
      const client = await openRaw({ port: door.port, leaf, serverName: host })
      client.send(textOf(target, { host, close: false, headers }))
      await client.until(/101 Switching|begun|ok$/)
      return client
    }
    using kept = await say('/login', [])
    using ws = await say('/ws', UPGRADE)
    using running = await say('/answer', [])
    await door.putAnchor({ name: 'taken', hostnames: ['elsewhere.test'], pem })
    await endsSoon(ws)
    await endsSoon(running)
    if (!kept.socket.destroyed) kept.send(textOf('/second/login', { host, close: false }))
    expect(answersIn((await kept.closed()).replace(/HTTP\/1\.1 40[13] /g, ''))).toBe(1)
    expect(bytes.requests.map(({ target }) => target)).not.toContain('/second/login')
  })
})

describe('time alone, and no change', () => {
  test('a service token that expires takes its WebSocket with it', async () => {
    const now = Date.now()
    const one = serviceToken({ hash: hash('sha256', SECRET), createdAt: now, expiresAt: now + 1_200 })
    await door.registry.createServiceToken(one, ACTOR)
    using client = await begin(undefined, '/stay/x', [
      ...UPGRADE,
      `CF-Access-Client-Id: ${one.clientId}`,
      `CF-Access-Client-Secret: ${SECRET}`,
    ])
    await new Promise((resolve) => setTimeout(resolve, now + 1_200 - Date.now()))
    await endsSoon(client)
  })
})

test('https.max_connection: nothing stands longer, whoever it is and however busy it keeps the connection', async () => {
  await using brief = await openDoorHarness({ env: { SALLYPORT_HTTPS_MAX_CONNECTION: '1s' } })
  const leaf = await brief.device('brief-1')
  await openSites(brief, {
    hostnames: [HOST],
    policies: [{ name: 'open', decision: 'bypass', include: [{ everyone: {} }] }],
    sites: [
      {
        name: 'hour',
        hostnames: [HOST],
        sessionDuration: HOUR,
        https: { origin: bytes.url, websocket: true },
      },
      {
        name: 'open',
        hostnames: [HOST],
        policies: ['open'],
        https: { path: '/open/*', origin: bytes.url, websocket: true },
      },
    ],
  })
  const standing = await Promise.all(
    (
      [
        [leaf, '/ws', UPGRADE],
        [undefined, '/open/ws', UPGRADE],
      ] as const
    ).map(async ([who, target, headers]) => {
      const client = await openRaw({ port: brief.port, leaf: who, serverName: HOST })
      client.send(textOf(target, { host: HOST, close: false, headers }))
      await client.until(/101 Switching/)
      return client
    }),
  )
  using busy = await openRaw({ port: brief.port, leaf, serverName: HOST })
  const timer = setInterval(() => {
    if (busy.socket.writable) busy.send(textOf('/busy/login', { host: HOST, close: false }))
    for (const client of standing) if (client.socket.writable) client.send('ping')
  }, 40)
  await Promise.all([...standing, busy].map(endsSoon)).finally(() => clearInterval(timer))
  for (const client of standing) client[Symbol.dispose]()
})
