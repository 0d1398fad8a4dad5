/** The attacker has a good certificate and wants the origin to believe more: by headers, by Host, and by paths that two readers read differently. */

import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { DeviceFiles, Fleet, Seen } from '../../../support/fleet.ts'
import { as, ask, speak, type Heard, type Who } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const originAttacks = (given: () => Fleet): void => {
  let fleet: Fleet
  let lamp: DeviceFiles
  let who: Who
  beforeAll(async () => {
    fleet = given()
    lamp = await fleet.enroll('lamp-1')
    who = as(lamp)
    const origin = fleet.urls.origin
    await fleet.operator.call('PUT', '/v1/policies/boss-only', {
      body: { decision: 'non_identity', include: [{ common_name: { common_name: 'boss-1' } }] },
    })
    await fleet.operator.call('PUT', '/v1/applications/vault', {
      body: { hostnames: ['localhost'], https: { path: '/vault/*', origin }, policies: ['boss-only'] },
    })
  })
  beforeEach(() => fleet.resetSeen())

  type Item = Seen['items'][number]
  const say = (bytes: string): Promise<Heard> =>
    speak(fleet.urls.https, Buffer.from(bytes, 'latin1'), { who })
  const get = (target: string, ...lines: readonly string[]): string =>
    `${[`GET ${target} HTTP/1.1`, 'Host: localhost', ...lines].join('\r\n')}\r\n\r\n`
  const only = async (): Promise<Item> => {
    const { items } = await fleet.seen()
    expect(items).toHaveLength(1)
    return items[0] as Item
  }
  /** As an origin reads them: case, dashes and underscores are one. */
  const valuesOf = (item: Item, name: string): string[] =>
    item.headers.filter(([key]) => key.toLowerCase().replaceAll('_', '-') === name).map(([, value]) => value)

  const EVIL = 'evil-1'
  const SPOKEN_FOR = [
    'cf-access-jwt-assertion',
    'cf-client-cert-der-base64',
    'cf-client-cert-sha256',
    'client-cert',
    'client-cert-chain',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-forwarded-port',
    'x-forwarded-client-cert',
    'x-forwarded-prefix',
    'x-forwarded-user',
    'cf-access-authenticated-user-email',
    'cf-access-token',
  ]
  const title = (name: string): string => name.replaceAll(/(^|[-_])\w/g, (c) => c.toUpperCase())
  const disguises: readonly [string, (name: string) => readonly string[]][] = [
    ['as it is', (name) => [`${name}: ${EVIL}`]],
    ['Title-Case', (name) => [`${title(name)}: ${EVIL}`]],
    ['CAPITALS', (name) => [`${name.toUpperCase()}: ${EVIL}`]],
    ['underscores', (name) => [`${name.replaceAll('-', '_')}: ${EVIL}`]],
    ['one underscore', (name) => [`${name.replace('-', '_')}: ${EVIL}`]],
    ['CAPITALS and underscores', (name) => [`${name.toUpperCase().replaceAll('-', '_')}: ${EVIL}`]],
    ['twice', (name) => [`${name}: ${EVIL}`, `${title(name)}: ${EVIL}`]],
    ['named in Connection', (name) => [`Connection: close, ${name}`, `${name}: ${EVIL}`]],
    [
      'a long time before',
      (name) => [`${name}: ${EVIL}`, ...Array.from({ length: 60 }, (_, n) => `x-${n}: ${n}`)],
    ],
  ]

  describe.each(disguises)('a header of the gateway, %s', (_, write) => {
    test('never reaches the origin from a client', async () => {
      const lines = SPOKEN_FOR.flatMap((name) => write(name))
      const heard = await say(get('/spoofed', ...lines))
      if (heard.status === 400 || heard.status === 431) return expect((await fleet.seen()).total).toBe(0)
      const item = await only()
      for (const name of SPOKEN_FOR)
        expect([name, valuesOf(item, name).filter((value) => value.includes(EVIL))]).toEqual([name, []])
      expect([item.device, item.verified]).toEqual(['lamp-1', true])
      for (const name of [
        'cf-access-jwt-assertion',
        'cf-client-cert-sha256',
        'x-forwarded-host',
        'x-forwarded-for',
      ])
        expect(valuesOf(item, name)).toHaveLength(1)
    })
  })

  test.each<[string, string]>([
    [
      'in the trailers',
      `POST /t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: Cf-Access-Jwt-Assertion\r\n\r\n1\r\nx\r\n0\r\nCf-Access-Jwt-Assertion: ${EVIL}\r\nX-Forwarded-For: ${EVIL}\r\n\r\n`,
    ],
    ['after a space', get('/s', `Cf-Access-Jwt-Assertion : ${EVIL}`)],
    ['after a tab', get('/s', `Cf-Access-Jwt-Assertion\t: ${EVIL}`)],
    ['folded', get('/s', 'X: y', ` Cf-Access-Jwt-Assertion: ${EVIL}`)],
    ['after a bare line feed', get('/s', `X: y\nCf-Access-Jwt-Assertion: ${EVIL}`)],
    ['after a bare carriage return', get('/s', `X: y\rCf-Access-Jwt-Assertion: ${EVIL}`)],
    ['after NUL', get('/s', `X: y\0Cf-Access-Jwt-Assertion: ${EVIL}`)],
    ['with NUL in its name', get('/s', `Cf-Access-Jwt-Assertion\0: ${EVIL}`)],
    ['with bytes beyond ASCII in its name', get('/s', `Cf\u00adAccess-Jwt-Assertion: ${EVIL}`)],
  ])('a header of the gateway %s: refused, or left behind', async (_, bytes) => {
    const heard = await say(bytes)
    const { items } = await fleet.seen()
    if (heard.status !== 200) return expect([heard.status, items]).toEqual([400, []])
    expect(JSON.stringify(items[0]?.headers)).not.toContain(EVIL)
  })

  test('headers by which origins are told another path, host, method or address are not passed on as they came', async () => {
    const names = [
      'X-Original-URL',
      'X-Rewrite-URL',
      'X-Original-Host',
      'Forwarded',
      'X-Real-IP',
      'True-Client-IP',
      'X-Client-Cert',
      'X-SSL-Client-Cert',
      'SSL-Client-Verify',
      'X-Host',
    ]
    await say(get('/told', ...names.map((name) => `${name}: ${EVIL}`)))
    const item = await only()
    expect(names.filter((name) => valuesOf(item, name.toLowerCase()).includes(EVIL))).toEqual([])
  })

  test('a cookie or token of Access is taken out, however it is written; other cookies stay', async () => {
    await say(
      get(
        '/c',
        `Cookie: a=1; CF_Authorization=${EVIL}; b=2`,
        `Cookie: CF_Authorization="${EVIL}";c=3`,
        `Cookie: CF_Authorization = ${EVIL}; cf_authorization=${EVIL}`,
        `cf-access-token: ${EVIL}`,
        `CF_Access_Token: ${EVIL}`,
      ),
    )
    const item = await only()
    expect(JSON.stringify(item.headers.filter(([, value]) => value.includes(EVIL)))).toBe('[]')
    const cookies = valuesOf(item, 'cookie').join('; ')
    for (const kept of ['a=1', 'b=2', 'c=3']) expect(cookies).toContain(kept)
  })

  describe('Host', () => {
    const hosts: readonly [string, readonly string[]][] = [
      ['another', ['evil.example']],
      ['a user before it', ['localhost@evil.example']],
      ['a user that is another host', ['evil.example@localhost']],
      ['a user and password', ['a:b@localhost']],
      ['a dot after it', ['localhost.']],
      ['two dots', ['localhost..']],
      ['capitals', ['LOCALHOST']],
      ['its port', ['localhost:9443']],
      ['a port that is none', ['localhost:99999']],
      ['a port of words', ['localhost:evil']],
      ['an empty port', ['localhost:']],
      ['two ports', ['localhost:1:2']],
      ['IPv6', ['[::1]']],
      ['IPv4', ['127.0.0.1']],
      ['a list', ['localhost, evil.example']],
      ['a path', ['localhost/vault']],
      ['a query', ['localhost?x']],
      ['a fragment', ['localhost#x']],
      ['a percent', ['localhost%00']],
      ['a backslash', ['localhost\\evil.example']],
      ['a space inside', ['localhost evil.example']],
      ['NUL', ['localhost\0']],
      ['nothing', ['']],
      ['two of them', ['localhost', 'evil.example']],
      ['two of them, the other first', ['evil.example', 'localhost']],
      ['the same twice', ['localhost', 'localhost']],
      ['none', []],
      ['full width', ['\u00efocalhost']],
    ]
    test('whatever it says, the origin hears of this host or of nothing', async () => {
      const wrong: Record<string, unknown> = {}
      for (const [name, lines] of hosts) {
        await fleet.resetSeen()
        const heard = await say(
          `${['GET /host HTTP/1.1', ...lines.map((line) => `Host: ${line}`)].join('\r\n')}\r\n\r\n`,
        )
        const { items } = await fleet.seen()
        const [item] = items
        const told =
          item === undefined ? [] : [...valuesOf(item, 'host'), ...valuesOf(item, 'x-forwarded-host')]
        if (told.some((one) => !/^localhost(:9443)?$/i.test(one))) wrong[name] = told
        else if (item !== undefined && lines.length !== 1)
          wrong[name] = 'more or less than one Host, and served'
        else if (item === undefined && ![400, 403, 421].includes(heard.status)) wrong[name] = heard.raw
      }
      expect(wrong).toEqual({})
    })

    test.each<[string, string]>([
      ['https://evil.example/x', 'localhost'],
      ['http://evil.example/x', 'localhost'],
      ['https://localhost@evil.example/x', 'localhost'],
      ['https://evil.example@localhost/x', 'localhost'],
      ['https://localhost:1@evil.example/x', 'localhost'],
      ['https://localhost/x', 'evil.example'],
      ['//evil.example/x', 'localhost'],
      ['https:/evil.example/x', 'localhost'],
      ['https:evil.example', 'localhost'],
      ['https://localhost\\@evil.example/x', 'localhost'],
      ['https://localhost%2f@evil.example/x', 'localhost'],
      ['https://[::1]/x', 'localhost'],
      ['ftp://localhost/x', 'localhost'],
      ['file:///etc/passwd', 'localhost'],
      ['javascript:x', 'localhost'],
    ])('the target %s beside Host %s is not served', async (target, host) => {
      const heard = await ask(fleet.urls.https, target, { who, host })
      expect([400, 403, 421]).toContain(heard.status)
      expect((await fleet.seen()).total).toBe(0)
    })
  })

  describe('an application that is not for me, below one that is', () => {
    /** Every way that origins are known to read a target: none of them may find /vault. */
    const readings: readonly ((target: string) => string)[] = [
      (t) => t,
      (t) => new URL(t, 'http://localhost').pathname,
      (t) => new URL(t.replaceAll('\\', '/'), 'http://localhost').pathname,
      (t) => decodeURIComponent(t),
      (t) => decodeURIComponent(decodeURIComponent(t)),
      (t) => new URL(decodeURIComponent(t), 'http://localhost').pathname,
      (t) => decodeURIComponent(t).replaceAll('\\', '/').replaceAll(/\/+/g, '/'),
      (t) =>
        decodeURIComponent(t)
          .replaceAll(/;[^/]*/g, '')
          .replaceAll(/\/+/g, '/'),
      (t) => new URL(t.replaceAll(/;[^/]*/g, ''), 'http://localhost').pathname.replaceAll(/\/+/g, '/'),
      // letters that normalise to others are no separators: an origin that folds those must say so itself
      (t) => decodeURIComponent(t).replaceAll(/[^\w]/g, (c) => c.normalize('NFKC')),
      (t) => decodeURIComponent(t).split('\0')[0] ?? '',
      (t) => decodeURIComponent(t).replaceAll(/[\t\r\n]/g, ''),
      (t) => t.replaceAll(/%u00(..)/gi, '%$1'),
      (t) =>
        Buffer.from(unescape(t), 'latin1')
          .toString('latin1')
          .replaceAll(/\u00c0(.)/g, (_, c: string) =>
            String.fromCodePoint((c.codePointAt(0) as number) & 0x7f),
          ),
    ]
    const finds = (target: string): boolean =>
      readings.some((read) => {
        try {
          let path = read(target.split(/[?#]/)[0] ?? '')
          for (let before = ''; before !== path;) {
            before = path
            path = path
              .replaceAll(/\/(\.\/)+/g, '/')
              .replaceAll(/\/+/g, '/')
              .replaceAll(/\/(?!\.\.\/)[^/]+\/\.\.(\/|$)/g, '/')
              .replace(/^(\/\.\.)+\//, '/')
          }
          return path.startsWith('/vault/')
        } catch {
          return false
        }
      })
    const targets = [
      '/vault/x',
      '//vault/x',
      '///vault/x',
      '/./vault/x',
      '/a/../vault/x',
      '/a/./../vault/x',
      '/a//../vault/x',
      '/../vault/x',
      '/../../vault/x',
      '/%2e/vault/x',
      '/a/%2e%2e/vault/x',
      '/a/%2E%2e/vault/x',
      '/a/.%2e/vault/x',
      '/a/%2e./vault/x',
      '/a/..%2fvault/x',
      '/a/..%2Fvault/x',
      '/a%2f..%2fvault/x',
      '/%2fvault/x',
      '/%2Fvault%2Fx',
      '/vault%2fx',
      '/vault%2Fx',
      '/vault%5cx',
      '/vault\\x',
      '\\vault\\x',
      '/a\\..\\vault\\x',
      '/a/..\\vault/x',
      '/a/..%5cvault/x',
      '/%5cvault/x',
      '/%76ault/x',
      '/v%61ult/x',
      '/%76%61%75%6c%74/x',
      '/%2576ault/x',
      '/%25%37%36ault/x',
      '/a/%252e%252e/vault/x',
      '/a/..%252fvault/x',
      '/vault%252fx',
      '/vault;x/x',
      '/vault;/x',
      '/vault;a=b/x',
      '/;/vault/x',
      '/;x/vault/x',
      '/a;/../vault/x',
      '/a/..;/vault/x',
      '/a/..;x/vault/x',
      '/.;/vault/x',
      '/vault/;/x',
      '/%3bx/vault/x',
      '/vault%3bx/x',
      '/a/..%3b/vault/x',
      '/a/%2e%2e;/vault/x',
      '/vault/../vault/x',
      '/vault/./x',
      '/vault//x',
      '/vault/%2e/x',
      '/vault/x?y',
      '/vault/x#y',
      '/vault/?',
      '/a?/../vault/x',
      '/a#/../../vault/x',
      '/a%3f/../vault/x',
      '/a%23/../vault/x',
      '/vault%00/x',
      '/%00/vault/x',
      '/vault/x%00',
      '/vault/%00',
      '/%09vault/x',
      '/vault%09/x',
      '/%0avault/x',
      '/%0d%0avault/x',
      '/vault%0a/x',
      '/+vault/x',
      '/%c0%afvault/x',
      '/a/%c0%ae%c0%ae/vault/x',
      '/vault%c0%afx',
      '/%e0%80%afvault/x',
      '/\u00c0\u00afvault/x',
      '/vault\u00ef\u00bc\u008fx',
      '/vault%ef%bc%8fx',
      '/a/%ef%bc%8e%ef%bc%8e/vault/x',
      '/vault%e2%88%95x',
      '/vault%e2%81%84x',
      '/%u0076ault/x',
      '/%u002e%u002e/vault/x',
      '/%7/vault/x',
      '/%/vault/x',
      '/%zz/vault/x',
      '/vault%/x',
      '/%76%',
      '/a/%2e%2/vault/x',
      '/vau\tlt/x',
      '/vault/x/',
      '/vault/',
      'https://localhost/vault/x',
      'https://localhost//vault/x',
      'https://localhost/a/../vault/x',
      'https://localhost:443/vault/x',
      'HTTPS://LOCALHOST/vault/x',
      'vault/x',
      './vault/x',
      '*',
      'a/../vault/x',
      '/cdn-cgi/access/certs/../../../vault/x',
      '/cdn-cgi/access/certs/..%2f..%2f..%2fvault/x',
      '/cdn-cgi/access/certs;/../../../vault/x',
    ]

    test('no spelling of its path is judged as the other', async () => {
      const through: Record<string, unknown> = {}
      for (const target of targets) {
        await fleet.resetSeen()
        const heard = await say(get(target))
        const { items } = await fleet.seen()
        const found = items.filter((item) => finds(item.target))
        if (found.length > 0) through[target] = found.map((item) => item.target)
        else if (
          items.length === 0 &&
          ![400, 403, 404, 421].includes(heard.status) &&
          !target.startsWith('/cdn-cgi')
        )
          through[target] = heard.raw
      }
      expect(through).toEqual({})
      expect(targets.length).toBeGreaterThan(100)
    })

    test('and for the one that it is for, it is open; the one beside it as well', async () => {
      const boss = as(await fleet.enroll('boss-1'))
      // through the door, to an origin that stands behind another application and believes no assertion but that one's
      const { status, body } = await ask(fleet.urls.https, '/vault/x', { who: boss })
      expect([status, JSON.parse(body)]).toEqual([401, { problem: 'ERR_JWT_CLAIM_VALIDATION_FAILED' }])
      expect((await ask(fleet.urls.https, '/vault/x', { who })).reason).toBe('policy_denied')
      expect((await ask(fleet.urls.https, '/vaults/x', { who })).status).toBe(200)
      expect((await ask(fleet.urls.https, '/a/vault/x', { who })).status).toBe(200)
    })

    test.each(['X-HTTP-Method-Override: DELETE', 'X-Method-Override: DELETE', 'X-HTTP-Method: DELETE'])(
      'what the assertion says was asked is what was asked: %s',
      async (line) => {
        await say(get('/m?_method=DELETE', line))
        const item = await only()
        const claims = JSON.parse(
          Buffer.from(item.assertion?.split('.')[1] ?? '', 'base64url').toString(),
        ) as Record<string, unknown>
        expect([item.method, claims['htm'], claims['htu']]).toEqual(['GET', 'GET', 'https://localhost/m'])
      },
    )
  })

  test.each([
    '/cdn-cgi/access/certs/',
    '/cdn-cgi/access/certs/x',
    '/cdn-cgi/access/certs%2f..',
    '/cdn-cgi/access/certs;x',
    '//cdn-cgi/access/certs',
    '/cdn-cgi/access/../access/certs',
    '/CDN-CGI/access/certs',
    '/cdn-cgi/access/login',
    '/cdn-cgi/trace',
  ])('the public keys are one path; %s is refused, or is nothing', async (target) => {
    const heard = await ask(fleet.urls.https, target)
    expect([400, 403, 404]).toContain(heard.status)
    expect((await fleet.seen()).total).toBe(0)
  })

  test('and they are public keys only', async () => {
    const { body, status } = await ask(fleet.urls.https, '/cdn-cgi/access/certs')
    expect(status).toBe(200)
    for (const key of (JSON.parse(body) as { keys: object[] }).keys)
      expect(
        Object.keys(key).filter((name) => ['d', 'p', 'q', 'k', 'dp', 'dq', 'qi'].includes(name)),
      ).toEqual([])
  })
}
