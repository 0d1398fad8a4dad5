/**
 * The attacker reads the policies and looks for the word that lets him in: pages of other sites, methods, service tokens, bypass and what lies
 * beside it, policies that only report. The doors' ladder in its order: nothing here is decided by who asks first.
 */

import { hash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Policy } from '#fleet/access.ts'
import type { ServiceToken } from '#fleet/credentials.ts'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { ACTOR, serviceToken } from '../../support/registry.ts'
import type { Heard, Who } from './attacker.ts'
import { openByteOrigin, switching, type ByteOrigin } from './door/byte-origin.ts'
import { cookieIn, get, openSites, say, textOf, UPGRADE, type Get } from './door/target.ts'

let door: DoorHarness
let bytes: ByteOrigin
let lamp: TestLeaf
let gone: TestLeaf
let held: TestLeaf
let unknown: TestLeaf
let foreign: TestLeaf
const secretOf = (n: number): string => `spst_${String(n).repeat(43)}`
const tokens: ServiceToken[] = []
const everyone: Policy['include'] = [{ everyone: {} }]
const named = (name: string): Policy['include'] => [{ common_name: { common_name: name } }]
beforeAll(async () => {
  bytes = await openByteOrigin((request, socket) => {
    socket.write(
      request.fields.some(([name]) => name.toLowerCase() === 'upgrade')
        ? switching()
        : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    )
    if (request.fields.some(([name]) => name.toLowerCase() === 'upgrade')) socket.end()
  })
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  gone = await door.device('gone-1')
  held = await door.device('held-1')
  unknown = door.pki.device({ id: 'lamp-1' })
  foreign = door.pki.device({ id: 'lamp-1', by: door.pki.other.devices })
  const now = Date.now()
  const at = { createdAt: now - 10_000, expiresAt: undefined }
  for (const over of [
    at,
    { ...at, expiresAt: now - 1 },
    at,
    { ...at, previous: { hash: hash('sha256', secretOf(7)), until: now - 1 } },
    { ...at, previous: { hash: hash('sha256', secretOf(8)), until: now + 60_000 } },
  ]) {
    const token = serviceToken({ ...over, hash: hash('sha256', secretOf(tokens.length)) })
    tokens.push(token)
    await door.registry.createServiceToken(token, ACTOR)
  }
  await door.registry.revokeServiceToken({ id: tokens[2]?.id ?? '', now, actor: ACTOR })
  const site = (name: string, policies: readonly string[], path = '/*', duration?: number) => ({
    name,
    hostnames: [`${name.split('-')[0]}.test`],
    https: { path, origin: path === '/ws/*' ? bytes.url : door.origin.url, websocket: path === '/ws/*' },
    policies,
    ...(duration === undefined ? {} : { sessionDuration: duration }),
  })
  await openSites(door, {
    hostnames: [
      'page.test',
      'token.test',
      'allow.test',
      'open.test',
      'order.test',
      'report.test',
      'rules.test',
    ],
    policies: [
      { name: 'bypass-all', decision: 'bypass', include: everyone },
      { name: 'bypass-lan', decision: 'bypass', include: [{ ip: { ip: '127.0.0.2' } }] },
      { name: 'bypass-lamp', decision: 'bypass', include: named('lamp-1') },
      { name: 'bypass-certificate', decision: 'bypass', include: [{ certificate: {} }] },
      { name: 'bypass-token', decision: 'bypass', include: [{ any_valid_service_token: {} }] },
      { name: 'bypass-not-lamp', decision: 'bypass', include: everyone, exclude: named('lamp-1') },
      { name: 'allow-everyone', decision: 'allow', include: everyone },
      { name: 'allow-token', decision: 'allow', include: [{ any_valid_service_token: {} }] },
      { name: 'service-everyone', decision: 'non_identity', include: everyone },
      {
        name: 'service-one',
        decision: 'non_identity',
        include: [{ service_token: { token_id: tokens[0]?.id ?? '' } }],
      },
      {
        name: 'service-lost',
        decision: 'non_identity',
        include: [{ service_token: { token_id: tokens[2]?.id ?? '' } }],
      },
      { name: 'deny-everyone', decision: 'deny', include: everyone },
      { name: 'deny-lamp', decision: 'deny', include: named('lamp-1') },
      { name: 'report-allow', decision: 'non_identity', include: everyone, reportOnly: true },
      { name: 'report-bypass', decision: 'bypass', include: everyone, reportOnly: true },
      { name: 'report-deny', decision: 'deny', include: everyone, reportOnly: true },
      { name: 'nothing', decision: 'allow', include: [] },
    ],
    sites: [
      site('page', ['valid']),
      { ...site('page-ws', ['valid'], '/ws/*') },
      {
        ...site('page-list', ['valid'], '/list/*'),
        https: {
          path: '/list/*',
          allowedOrigins: ['https://friend.test'],
          websocket: true,
          origin: bytes.url,
        },
      },
      site('page-session', ['valid'], '/session/*', 3_600_000),
      site('token', ['service-everyone']),
      site('token-one', ['service-one'], '/one/*'),
      site('token-lost', ['service-lost'], '/lost/*'),
      site('allow', ['allow-everyone']),
      site('allow-token', ['allow-token'], '/token/*'),
      site('open', ['valid']),
      site('open-path', ['bypass-all'], '/public/*'),
      site('open-exact', ['bypass-all'], '/health'),
      site('open-within', ['valid'], '/public/private/*'),
      site('open-lan', ['bypass-lan'], '/lan/*'),
      site('open-lamp', ['bypass-lamp'], '/lamp/*'),
      site('open-certificate', ['bypass-certificate'], '/certificate/*'),
      site('open-token', ['bypass-token'], '/token/*'),
      site('open-not', ['bypass-not-lamp'], '/not/*'),
      site('open-ws', ['bypass-all'], '/ws/*'),
      site('order', ['deny-everyone', 'bypass-all']),
      site('order-b', ['deny-lamp', 'service-everyone'], '/b/*'),
      site('order-c', ['deny-lamp', 'allow-everyone'], '/c/*'),
      site('order-d', ['allow-everyone', 'deny-lamp'], '/d/*'),
      site('report', ['report-allow']),
      site('report-b', ['report-bypass'], '/b/*'),
      site('report-c', ['report-deny', 'valid'], '/c/*'),
      site('report-d', ['report-allow', 'report-bypass', 'deny-everyone'], '/d/*'),
      site('rules', ['valid']),
      site('rules-e', ['nothing'], '/e/*'),
      site('rules-f', [], '/f/*'),
    ],
  })
  await door.setState('gone-1', 'revoked')
  await door.setState('held-1', 'suspended')
})
afterAll(async () => {
  await door[Symbol.asyncDispose]()
  await bytes[Symbol.asyncDispose]()
})
beforeEach(() => {
  door.origin.seen.length = 0
  bytes.requests.length = 0
})

const seen = (): number => door.origin.seen.length + bytes.requests.length
const verdict = ({ status, reason }: Heard): string =>
  reason === undefined ? String(status) : `${status} ${reason}`
const withToken = (n: number, secret = secretOf(n)): readonly string[] => [
  `CF-Access-Client-Id: ${tokens[n]?.clientId}`,
  `CF-Access-Client-Secret: ${secret}`,
]

describe('a page of another site', () => {
  const evil: readonly (readonly string[])[] = [
    ['Origin: https://evil.example'],
    ['Origin: null'],
    ['Origin: NULL'],
    ['Origin:'],
    ['Origin: '],
    ['origin: https://evil.example'],
    ['Origin: http://page.test'],
    ['Origin: https://page.test.evil.example'],
    ['Origin: https://evil.example/page.test'],
    ['Origin: https://page.test@evil.example'],
    ['Origin: https://evil.example#https://page.test'],
    ['Origin: https://page.test:8443'],
    ['Origin: https://xpage.test'],
    ['Origin: https://a.page.test'],
    ['Origin: //page.test'],
    ['Origin: page.test'],
    ['Origin: wss://page.test'],
    ['Origin: https://page.test https://evil.example'],
    ['Origin: https://page.test, https://evil.example'],
    ['Origin: https://page.test', 'Origin: https://evil.example'],
    ['Origin: https://evil.example', 'Origin: https://page.test'],
    ['Origin: https://page.test/'],
    ['Origin: https://page.test\t'.concat('x')],
    ['Origin: https://p\u00e4ge.test'],
    ['Origin: *'],
    ['Origin: https://*.test'],
    ['Origin: file://'],
    ['Origin: chrome-extension://abc'],
  ]
  const METHODS = [
    'PUT',
    'PATCH',
    'DELETE',
    'PURGE',
    'PROPFIND',
    'TRACE',
    'LINK',
    'QUERY',
    'post',
    'Post',
    'get',
    'GETS',
    'HEAD_',
  ]
  const rows = evil.map((lines) => [JSON.stringify(lines), lines] as const)

  test.each(rows)('%s: no unsafe method, no Upgrade', async (_, lines) => {
    const wrong: Record<string, unknown> = {}
    const refused = async (name: string, o: Get, target: string): Promise<void> => {
      const heard = await get(door, target, { host: 'page.test', who: lamp, ...o })
      if (heard.status === 200 || heard.status === 101 || seen() > 0) wrong[name] = [verdict(heard), seen()]
      door.origin.seen.length = 0
      bytes.requests.length = 0
    }
    // POST always, of the others three by turns
    const at = evil.indexOf(lines)
    for (const method of ['POST', ...[0, 5, 9].map((n) => METHODS[(at + n) % METHODS.length] as string)])
      await refused(method, { method, headers: lines, body: '' }, '/x')
    await refused('to a list that has another', { method: 'POST', headers: lines, body: '' }, '/list/x')
    await refused('Upgrade', { headers: [...lines, ...UPGRADE], close: false }, '/ws/x')
    await refused(
      'Upgrade where others are listed',
      { headers: [...lines, ...UPGRADE], close: false },
      '/list/x',
    )
    expect(wrong).toEqual({})
  })

  test('what it may do: read, and be the application’s own or listed; a device, which has no page, may all', async () => {
    const ask = (o: Get, target = '/x') => get(door, target, { host: 'page.test', who: lamp, ...o })
    for (const method of ['GET', 'HEAD', 'OPTIONS'])
      expect((await ask({ method, headers: ['Origin: https://evil.example'] })).status).toBe(200)
    expect((await ask({ method: 'POST', body: '', headers: ['Origin: https://page.test'] })).status).toBe(200)
    expect((await ask({ method: 'POST', body: '' })).status).toBe(200)
    expect(
      (await ask({ method: 'POST', body: '', headers: ['Origin: https://friend.test'] }, '/list/x')).status,
    ).toBe(200)
    expect((await ask({ method: 'POST', body: '', headers: ['Origin: https://friend.test'] })).reason).toBe(
      'origin_denied',
    )
    expect(
      (await ask({ headers: [...UPGRADE, 'Origin: https://page.test'], close: false }, '/ws/x')).status,
    ).toBe(101)
    expect((await ask({ headers: UPGRADE, close: false }, '/ws/x')).status).toBe(101)
  })

  test('a method that travels in a header, a query or a form is the origin’s own affair, and unsafe ones do not travel by GET here', async () => {
    const lines = [
      'X-HTTP-Method-Override: DELETE',
      'X-Method-Override: DELETE',
      'Origin: https://evil.example',
    ]
    const heard = await get(door, '/x', { host: 'page.test', who: lamp, headers: lines })
    expect([heard.status, door.origin.seen[0]?.method]).toEqual([200, 'GET'])
  })

  test('an Upgrade by anything but a GET of HTTP/1.1 is none', async () => {
    for (const text of [
      textOf('/ws/x', { host: 'page.test', method: 'POST', body: '', headers: UPGRADE, close: false }),
      textOf('/ws/x', { host: 'page.test', method: 'HEAD', headers: UPGRADE, close: false }),
      textOf('/ws/x', { host: 'page.test', headers: UPGRADE, close: false }).replace('HTTP/1.1', 'HTTP/1.0'),
      textOf('/ws/x', { host: 'page.test', headers: UPGRADE.with(1, 'Upgrade: h2c'), close: false }),
      textOf('/ws/x', {
        host: 'page.test',
        headers: UPGRADE.with(1, 'Upgrade: websocket, h2c'),
        close: false,
      }),
      textOf('/ws/x', { host: 'page.test', headers: UPGRADE.with(1, 'Upgrade: TLS/1.0'), close: false }),
      textOf('/x', { host: 'page.test', headers: UPGRADE, close: false }),
    ]) {
      const heard = await say(door, text, { host: 'page.test', who: lamp })
      expect([text.split('\r\n')[0], heard.status]).not.toEqual([text.split('\r\n')[0], 101])
      for (const request of bytes.requests)
        expect(request.fields.map(([name]) => name.toLowerCase())).not.toContain('upgrade')
      bytes.requests.length = 0
    }
  })
})

describe('a service token', () => {
  test.each<[string, () => readonly string[]]>([
    ['the secret alone', () => withToken(0).slice(1)],
    ['the id alone', () => withToken(0).slice(0, 1)],
    ['the wrong secret', () => withToken(0, secretOf(9))],
    ['another’s secret', () => withToken(0, secretOf(1))],
    ['no secret', () => withToken(0, '')],
    ['its secret and more', () => withToken(0, `${secretOf(0)}x`)],
    ['its secret, cut', () => withToken(0, secretOf(0).slice(0, -1))],
    ['its secret in capitals', () => withToken(0, secretOf(0).toUpperCase())],
    ['the hash of its secret', () => withToken(0, tokens[0]?.hash)],
    [
      'its id in capitals',
      () =>
        withToken(0).map((line) =>
          line.replace(tokens[0]?.clientId ?? '', (tokens[0]?.clientId ?? '').toUpperCase()),
        ),
    ],
    [
      'its handle',
      () => withToken(0).map((line) => line.replace(tokens[0]?.clientId ?? '', tokens[0]?.id ?? '')),
    ],
    ['SQL', () => withToken(0).map((line) => line.replace(tokens[0]?.clientId ?? '', "' OR '1'='1"))],
    ['expired', () => withToken(1)],
    ['revoked', () => withToken(2)],
    ['rotated, the secret of before, its grace over', () => withToken(3, secretOf(7))],
    ['twice', () => [...withToken(0), ...withToken(0)]],
    ['two of them', () => [...withToken(0), ...withToken(4)]],
    ['the id twice', () => [...withToken(0), withToken(0)[0] ?? '']],
    ['two secrets, the good one first', () => [...withToken(0), `CF-Access-Client-Secret: x`]],
    [
      'two secrets, the good one last',
      () => [withToken(0)[0] ?? '', `CF-Access-Client-Secret: x`, withToken(0)[1] ?? ''],
    ],
    ['huge', () => withToken(0, 'x'.repeat(8_000))],
  ])('%s: 401, with a certificate or without, whatever the policy', async (_, lines) => {
    for (const host of ['token.test', 'allow.test'])
      for (const who of [undefined, lamp]) {
        const heard = await get(door, '/x', { host, who, headers: lines() })
        expect([host, verdict(heard)]).toEqual([host, '401 token_invalid'])
      }
    expect(seen()).toBe(0)
  })

  test('no other field is one', async () => {
    for (const lines of [
      withToken(0).map((line) => line.replace('CF-Access-', 'CF_Access_')),
      withToken(0).map((line) => line.replace('CF-Access-', 'X-CF-Access-')),
      [
        `Authorization: {"cf-access-client-id":"${tokens[0]?.clientId}","cf-access-client-secret":"${secretOf(0)}"}`,
      ],
      [`Authorization: Basic ${Buffer.from(`${tokens[0]?.clientId}:${secretOf(0)}`).toString('base64')}`],
      [`Cookie: CF-Access-Client-Id=${tokens[0]?.clientId}; CF-Access-Client-Secret=${secretOf(0)}`],
    ]) {
      const heard = await get(door, '/x', { host: 'token.test', headers: lines })
      expect(heard.status).toBeOneOf([401, 403])
    }
    expect(seen()).toBe(0)
  })

  test('a good one is let in by Service Auth, and by nothing else', async () => {
    const ask = (host: string, target: string, o: Get = {}) =>
      get(door, target, { host, headers: withToken(0), ...o })
    for (const n of [0, 4])
      expect((await ask('token.test', '/x', { headers: withToken(n) })).status).toBe(200)
    expect((await ask('token.test', '/x', { headers: withToken(4, secretOf(8)) })).status).toBe(200)
    expect((await ask('token.test', '/one/x')).status).toBe(200)
    const before = seen()
    for (const [host, target, o] of [
      ['token.test', '/one/x', { headers: withToken(4) }],
      ['token.test', '/lost/x', {}],
      ['allow.test', '/x', {}],
      ['allow.test', '/token/x', {}],
      ['a.test', '/x', {}],
      ['order.test', '/c/x', {}],
      ['rules.test', '/e/x', {}],
      ['rules.test', '/f/x', {}],
      ['report.test', '/x', {}],
    ] as const) {
      const heard = await ask(host, target, o)
      expect([host, target, heard.status, heard.reason]).toEqual([
        host,
        target,
        403,
        expect.toBeOneOf(['policy_denied', 'certificate_required']),
      ])
      expect(cookieIn(heard.raw)).toBeUndefined()
    }
    expect(seen()).toBe(before)
  })

  test('it gets no session, also where there are some', async () => {
    await door.putApplication({
      name: 'token-session',
      id: 'e'.repeat(64),
      hostnames: ['token.test'],
      sessionDuration: 3_600_000,
      https: { path: '/session/*', origin: door.origin.url },
      policies: ['service-everyone'],
    })
    const heard = await get(door, '/session/x', { host: 'token.test', headers: withToken(0) })
    expect([heard.status, cookieIn(heard.raw)]).toEqual([200, undefined])
  })

  const bad: readonly [string, () => Who, RegExp][] = [
    ['revoked', () => gone, /403 certificate_revoked/],
    ['suspended', () => held, /403 device_suspended/],
    ['not on record', () => unknown, /403 certificate_unknown/],
    ['another CA’s', () => foreign, /403 certificate_untrusted/],
  ]
  test.each(bad)('does not heal a certificate that is %s', async (_, who, want) => {
    for (const [host, target] of [
      ['token.test', '/x'],
      ['token.test', '/one/x'],
      ['allow.test', '/x'],
    ] as const) {
      const heard = await get(door, target, { host, who: who(), headers: withToken(0) })
      expect(verdict(heard)).toMatch(want)
      expect(cookieIn(heard.raw)).toBeUndefined()
    }
    expect(seen()).toBe(0)
  })

  test('and revoked in the middle of it all it is worth nothing on the next request', async () => {
    const token = serviceToken({
      hash: hash('sha256', secretOf(6)),
      createdAt: Date.now(),
      expiresAt: undefined,
    })
    await door.registry.createServiceToken(token, ACTOR)
    const lines = [`CF-Access-Client-Id: ${token.clientId}`, `CF-Access-Client-Secret: ${secretOf(6)}`]
    expect((await get(door, '/x', { host: 'token.test', headers: lines })).status).toBe(200)
    await door.registry.revokeServiceToken({ id: token.id, now: Date.now(), actor: ACTOR })
    expect(verdict(await get(door, '/x', { host: 'token.test', headers: lines }))).toBe('401 token_invalid')
  })
})

describe('bypass', () => {
  test('ends where its path ends', async () => {
    const open = ['/public/x', '/public/', '/public/x/y?z', '/health', '/health/x', '/ws/x']
    for (const target of open)
      expect([target, (await get(door, target, { host: 'open.test' })).status]).toEqual([target, 200])
    const before = seen()
    const shut = [
      '/',
      '/x',
      '/public',
      '/publicx',
      '/PUBLIC/x',
      '/Public/x',
      '/health2',
      '/healthz',
      '/Health',
      '/public/private/x',
      '/public/private/',
      '/x/public/x',
      '/x?/public/x',
      '/x?/../public/x',
      '/x#/public/',
      '/public%2f..%2fx',
      '/public/..%2fx',
      '/public/../x',
      '/public/%2e%2e/x',
      '/public/%2e%2e%2fx',
      '/public/..;/x',
      '/public/..\\x',
      '/public//../x',
      '/public/./../x',
      '/public;/../x',
      '/public/%252e%252e/x',
      '/public/private;x/y',
      '/public//private/x',
      '/public/./private/x',
      '/public/%70rivate/x',
      '/public%2fprivate/x',
      '/public/private%2fx',
      '//public/x',
      '/./public/x',
      '/%2e/public/x',
      '/public%00/x',
      '/health/../x',
      '/health/..%2fx',
      '/health%3fx',
      '/health;x',
      'https://open.test/x',
      'https://a.test/public/x',
      '*',
    ]
    const wrong: Record<string, unknown> = {}
    for (const target of shut) {
      const heard = await get(door, target, { host: 'open.test' })
      if (heard.status < 400) wrong[target] = heard.raw.slice(0, 200)
    }
    // what the door lets through as open is open in every reading: `/health;x` is below `/health` to some, and has nothing stricter beside it
    delete wrong['/health;x']
    delete wrong['/health%3fx']
    expect(wrong).toEqual({})
    expect(seen() - before).toBeLessThanOrEqual(2)
  })

  test('needs what it says it needs, of a certificate that is good', async () => {
    const rows: readonly [
      target: string,
      who: Who | undefined,
      headers: readonly string[],
      status: number,
    ][] = [
      ['/lan/x', undefined, [], 403],
      [
        '/lan/x',
        undefined,
        [
          'X-Forwarded-For: 127.0.0.2',
          'Cf-Connecting-IP: 127.0.0.2',
          'X-Real-IP: 127.0.0.2',
          'Forwarded: for=127.0.0.2',
        ],
        403,
      ],
      ['/lan/x', lamp, [], 403],
      ['/lamp/x', undefined, [], 403],
      ['/lamp/x', gone, [], 403],
      ['/lamp/x', unknown, [], 403],
      ['/lamp/x', foreign, [], 403],
      ['/lamp/x', lamp, [], 200],
      ['/certificate/x', undefined, [], 403],
      ['/certificate/x', gone, [], 403],
      ['/certificate/x', held, [], 403],
      ['/certificate/x', foreign, [], 403],
      ['/certificate/x', lamp, [], 200],
      ['/token/x', undefined, [], 403],
      ['/token/x', undefined, withToken(1), 401],
      ['/token/x', undefined, withToken(0, 'wrong'), 401],
      ['/not/x', lamp, [], 403],
    ]
    for (const [target, who, headers, status] of rows) {
      const heard = await get(door, target, { host: 'open.test', who, headers })
      expect([target, headers, heard.reason, heard.status]).toEqual([target, headers, heard.reason, status])
    }
  })

  test('who is excluded from it does not get in by leaving his certificate at home or by showing a bad one', async () => {
    // nobody knows who that is: what a rule cannot judge, it excludes
    for (const who of [undefined, gone, unknown, foreign])
      expect((await get(door, '/not/x', { host: 'open.test', who })).status).toBe(403)
    expect(seen()).toBe(0)
  })

  test('from the address that it names: let in', async () => {
    expect((await get(door, '/lan/x', { host: 'open.test', from: '127.0.0.2' })).status).toBe(200)
  })

  test('with a bad certificate, an expired token or a cookie: in, as nobody', async () => {
    for (const who of [undefined, lamp, gone, held, unknown, foreign]) {
      const heard = await get(door, '/public/x', {
        host: 'open.test',
        who,
        headers: ['Cookie: CF_Authorization=x'],
      })
      expect([heard.status, cookieIn(heard.raw)]).toEqual([200, undefined])
    }
    for (const { rawHeaders } of door.origin.seen)
      expect(rawHeaders.filter((one) => /^cf-|client-cert|eyJ|CF_Auth/i.test(one))).toEqual([])
  })

  test('is no way round SNI and Host', async () => {
    expect((await say(door, textOf('/public/x', { host: 'open.test' }), { host: 'a.test' })).reason).toBe(
      'host_mismatch',
    )
    expect((await get(door, '/public/x', { host: 'open.test', serverName: '' })).status).toBeOneOf([0, 421])
    expect(seen()).toBe(0)
  })
})

describe('order', () => {
  test('bypass and Service Auth before allow and deny, then as written', async () => {
    const ask = async (target: string, who?: Who, headers: readonly string[] = []): Promise<string> =>
      verdict(await get(door, target, { host: 'order.test', who, headers }))
    expect(await ask('/x')).toBe('200')
    expect(await ask('/b/x', lamp)).toBe('200')
    expect(await ask('/c/x', lamp)).toBe('403 policy_denied')
    expect(await ask('/d/x', lamp)).toBe('200')
    expect(await ask('/b/x')).toBe('403 certificate_required')
  })
  test('no rule and no policy let nobody in', async () => {
    for (const target of ['/e/x', '/f/x'])
      for (const headers of [[], withToken(0)])
        expect([
          target,
          verdict(await get(door, target, { host: 'rules.test', who: lamp, headers })),
        ]).toEqual([target, expect.stringMatching(/^403 (policy_denied|no_application)$/)])
    expect(seen()).toBe(0)
  })
})

describe('a policy that only reports', () => {
  test('lets nobody in and keeps nobody out', async () => {
    for (const target of ['/x', '/b/x', '/d/x'])
      for (const [who, headers] of [
        [undefined, []],
        [lamp, []],
        [undefined, withToken(0)],
        [lamp, withToken(0)],
      ] as const)
        expect([target, (await get(door, target, { host: 'report.test', who, headers })).status]).toEqual([
          target,
          403,
        ])
    expect(seen()).toBe(0)
    expect((await get(door, '/c/x', { host: 'report.test', who: lamp })).status).toBe(200)
  })
  test('a session begins by no such policy either', async () => {
    const heard = await get(door, '/x', { host: 'report.test', who: lamp })
    expect(cookieIn(heard.raw)).toBeUndefined()
  })
  test('and turned round it counts', async () => {
    await door.putPolicy({ name: 'report-allow', include: everyone })
    expect((await get(door, '/x', { host: 'report.test', who: lamp })).status).toBe(200)
    await door.putPolicy({ name: 'report-allow', include: everyone, reportOnly: true })
    expect((await get(door, '/x', { host: 'report.test', who: lamp })).status).toBe(403)
  })
})

test('no secret of all that stands in the log', () => {
  const log = JSON.stringify(door.log)
  for (const n of tokens.keys()) expect(log).not.toContain(secretOf(n))
})
