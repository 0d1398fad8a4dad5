/** The attacker is a device, a web page or a viewer, and wants what only an operator may do. */

import { beforeAll, describe, expect, test } from 'vitest'
import type { DeviceFiles, Fleet } from '../../../support/fleet.ts'
import { as, ask, PROMPT, said, speak, type Ask, type Heard } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const operatorAttacks = (given: () => Fleet): void => {
  type Listener = 'devices' | 'status' | 'https' | 'operator' | 'enrollMetrics' | 'gatewayMetrics'
  let fleet: Fleet
  let lamp: DeviceFiles
  let viewer: string
  let operator: string
  let dismissed: string
  const tokenFor = async (role: string): Promise<{ token: string; id: string }> =>
    fleet.operator.call('POST', '/v1/operators', { body: { name: role, role } })
  beforeAll(async () => {
    fleet = given()
    lamp = await fleet.enroll('lamp-1')
    viewer = (await tokenFor('viewer')).token
    operator = (await tokenFor('operator')).token
    const gone = await tokenFor('admin')
    dismissed = gone.token
    await fleet.operator.call('POST', `/v1/operators/${gone.id}/revoke`)
  })

  const at = (listener: Listener, target: string, o: Ask = {}): Promise<Heard> =>
    ask(fleet.urls[listener] as string, target, {
      host: listener === 'operator' ? new URL(fleet.urls.operator).host : 'localhost',
      ...o,
    })
  const body = (o: object): Ask => ({ method: 'POST', body: o })
  type Doing = readonly [string, string, object?]
  const DOINGS: readonly Doing[] = [
    ['POST', '/v1/tokens', {}],
    ['GET', '/v1/tokens'],
    ['POST', '/v1/tokens/aaaaaaaaaaaaaaaa/revoke', {}],
    ['POST', '/v1/operators', { name: 'x', role: 'admin' }],
    ['GET', '/v1/operators'],
    ['GET', '/v1/devices'],
    ['GET', '/v1/devices/lamp-1'],
    ['POST', '/v1/devices/lamp-1/suspend', {}],
    ['POST', '/v1/devices/lamp-1/resume', {}],
    ['POST', '/v1/devices/lamp-1/retire', {}],
    ['POST', '/v1/devices/lamp-1/revoke', {}],
    ['GET', '/v1/anchors'],
    ['PUT', '/v1/anchors/development', { pem: 'x', hostnames: ['localhost'] }],
    ['DELETE', '/v1/anchors/development'],
    ['PUT', '/v1/applications/example', { hostnames: ['localhost'], policies: [] }],
    ['DELETE', '/v1/applications/example'],
    ['PUT', '/v1/policies/devices', { decision: 'non_identity', include: [{ certificate: {} }] }],
    ['DELETE', '/v1/policies/devices'],
    ['PUT', '/v1/rule-groups/plant', { include: [{ everyone: {} }] }],
    ['DELETE', '/v1/rule-groups/plant'],
    ['POST', '/v1/policy-test', { host: 'localhost' }],
    ['POST', '/v1/apply', {}],
  ]
  const doing = (listener: Listener, [method, target, json]: Doing, o: Ask = {}): Promise<Heard> =>
    at(listener, target, { method, ...(json === undefined ? {} : { body: json }), ...o })

  /** What an operator would be sorry to find changed. */
  const state = async (): Promise<string> =>
    JSON.stringify(
      await Promise.all(
        ['devices', 'tokens', 'operators', 'anchors', 'applications', 'policies', 'rule-groups'].map((what) =>
          fleet.operator.call('GET', `/v1/${what}?limit=1000`),
        ),
      ),
      (key, value: unknown) => (key === 'last_seen_at' ? undefined : value),
    )
  const nothingChanged = async (attack: () => Promise<void>): Promise<void> => {
    const before = await state()
    await attack()
    expect(await state()).toBe(before)
  }

  describe('the operator API is at its own listener and nowhere else', () => {
    test.each<[Listener, readonly number[]]>([
      ['devices', [404, 405]],
      ['status', [404, 405]],
      ['enrollMetrics', [404, 405]],
      ['gatewayMetrics', [404, 405]],
      ['https', [403]],
    ])('%s', async (listener, statuses) => {
      await nothingChanged(async () => {
        for (const one of DOINGS) {
          const heard = await doing(listener, one, { token: fleet.operatorToken })
          expect([...one.slice(0, 2), heard.status]).toEqual([
            ...one.slice(0, 2),
            expect.toBeOneOf([...statuses]),
          ])
        }
      })
    })

    test('a device that asks its door for it is answered by the origin, which is no operator API', async () => {
      await fleet.resetSeen()
      await nothingChanged(async () => {
        for (const one of DOINGS) await doing('https', one, { token: fleet.operatorToken, who: as(lamp) })
      })
      expect((await fleet.seen()).total).toBe(DOINGS.length)
    })

    test.each<[string, Listener]>([
      ['/metrics', 'devices'],
      ['/metrics', 'status'],
      ['/metrics', 'https'],
      ['/metrics', 'operator'],
      ['/healthz', 'https'],
      ['/readyz', 'https'],
      ['/_seen', 'https'],
      ['/run/enroll.json', 'status'],
      ['/openapi.json', 'status'],
      ['/v1/trust.pem', 'status'],
    ])('%s is not at %s', async (target, listener) => {
      expect([401, 403, 404]).toContain((await at(listener, target)).status)
    })
  })

  describe('without the right token', () => {
    const credentials: readonly [string, () => Promise<Ask>][] = [
      ['none', async () => ({})],
      ['a claim token', async () => ({ token: await fleet.token() })],
      [
        'a claim token dressed as one of an operator',
        async () => ({
          token: (await fleet.token()).replace('spt1', 'spo1').split('.').slice(0, 3).join('.'),
        }),
      ],
      ['one that was revoked', async () => ({ token: dismissed })],
      [
        "the operator's id with a viewer's secret",
        async () => ({
          token: `${fleet.operatorToken.split('.').slice(0, 2).join('.')}.${viewer.split('.')[2]}`,
        }),
      ],
      ['the id alone', async () => ({ token: fleet.operatorToken.split('.').slice(0, 2).join('.') })],
      ['in capitals', async () => ({ token: fleet.operatorToken.toUpperCase() })],
      ['cut short', async () => ({ token: fleet.operatorToken.slice(0, -1) })],
      [
        'as Basic',
        async () => ({
          headers: [
            `Authorization: Basic ${Buffer.from(`operator:${fleet.operatorToken}`).toString('base64')}`,
          ],
        }),
      ],
      [
        'as a cookie',
        async () => ({
          headers: [`Cookie: token=${fleet.operatorToken}; authorization=Bearer ${fleet.operatorToken}`],
        }),
      ],
      [
        'in another header',
        async () => ({
          headers: [
            `X-Authorization: Bearer ${fleet.operatorToken}`,
            `Proxy-Authorization: Bearer ${fleet.operatorToken}`,
          ],
        }),
      ],
      [
        'twice, a bad one first',
        async () => ({
          headers: [`Authorization: Bearer nonsense`, `Authorization: Bearer ${fleet.operatorToken}`],
        }),
      ],
    ]
    test.each(credentials)('%s: 401 for everything, and nothing done', async (_, credential) => {
      const with_ = await credential()
      await nothingChanged(async () => {
        for (const one of DOINGS)
          expect([...one.slice(0, 2), (await doing('operator', one, with_)).status]).toEqual([
            ...one.slice(0, 2),
            401,
          ])
      })
    })

    test.each(['?access_token=', '?token=', '?authorization=Bearer%20', '#'])(
      'in the address, after %s',
      async (name) => {
        expect((await at('operator', `/v1/devices${name}${fleet.operatorToken}`)).status).toBeOneOf([
          400, 401,
        ])
      },
    )

    test('an operator token enrols nobody', async () => {
      expect(
        (await at('devices', '/v1/enroll', { token: fleet.operatorToken, body: { csr: 'x' } })).status,
      ).toBe(401)
    })

    test.each([
      '//v1/devices',
      '/V1/devices',
      '/v1/devices/',
      '/v1//devices',
      '/./v1/devices',
      '/x/../v1/devices',
      '/v1/%64evices',
      '/v1/devices%2f',
      '/v1;x/devices',
      '/v1/devices;x',
      '/%2e/v1/devices',
      '/v1\\devices',
      '/openapi.json/../v1/devices',
      '/openapi.json%2f..%2fv1/devices',
      'http://127.0.0.1/v1/devices',
      '/v1/devices/..%2ftokens',
      '/v1/devices?x=/openapi.json',
      '/v1/operators/..;/devices',
    ])('%s is no way round', async (target) => {
      const heard = await at('operator', target)
      expect(heard.status).toBeOneOf([400, 401, 404])
      expect(heard.body).not.toContain('lamp-1')
    })

    test.each(['HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'get', 'GETX'])(
      '%s is none either',
      async (method) => {
        const heard = await at('operator', '/v1/devices', { method })
        expect(heard.status).toBeOneOf([400, 401, 404, 405])
        expect(heard.raw).not.toContain('lamp-1')
      },
    )
  })

  describe('a viewer', () => {
    test('changes nothing', async () => {
      await nothingChanged(async () => {
        for (const one of DOINGS.filter(([method]) => method !== 'GET'))
          expect([...one.slice(0, 2), said(await doing('operator', one, { token: viewer }))]).toEqual([
            ...one.slice(0, 2),
            [403, 'forbidden'],
          ])
      })
    })

    test.each(['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', '_method'])(
      'nor by %s',
      async (name) => {
        await nothingChanged(async () => {
          await at('operator', '/v1/anchors/development', { token: viewer, headers: [`${name}: DELETE`] })
          await at('operator', '/v1/anchors/development?_method=DELETE', { token: viewer })
          await at('operator', '/v1/devices/lamp-1/revoke', { token: viewer, headers: [`${name}: POST`] })
        })
      },
    )

    test("hears nothing of an admin's answer by his Idempotency-Key", async () => {
      const headers = ['Idempotency-Key: the-same']
      const first = await at('operator', '/v1/tokens', {
        ...body({ uses: 3 }),
        token: fleet.operatorToken,
        headers,
      })
      expect(first.status).toBe(201)
      const { token } = JSON.parse(first.body) as { token: string }
      for (const by of [viewer, operator, dismissed]) {
        const heard = await at('operator', '/v1/tokens', { ...body({ uses: 3 }), token: by, headers })
        expect(heard.body).not.toContain(token.split('.')[2])
      }
    })

    test('makes no operator, and neither does an operator who is no admin', async () => {
      for (const token of [viewer, operator])
        expect(
          said(await at('operator', '/v1/operators', { ...body({ name: 'me', role: 'admin' }), token })),
        ).toEqual([403, 'forbidden'])
    })
  })

  describe('a web page that the operator has open', () => {
    const evil = ['Origin: https://evil.example', 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors']
    test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', ''])(
      'cannot post as %s',
      async (type) => {
        await nothingChanged(async () => {
          for (const [method, target, json] of DOINGS.filter(([one]) => one === 'POST')) {
            const heard = await at('operator', target, {
              method,
              body: JSON.stringify(json),
              headers: [...evil, ...(type === '' ? [] : [`Content-Type: ${type}`])],
            })
            expect(heard.status).toBeOneOf([400, 401, 403, 415])
          }
        })
      },
    )

    test('is not given leave to send a token, nor to read an answer', async () => {
      const preflight = await at('operator', '/v1/tokens', {
        method: 'OPTIONS',
        headers: [
          ...evil,
          'Access-Control-Request-Method: POST',
          'Access-Control-Request-Headers: authorization',
        ],
      })
      const read = await at('operator', '/v1/devices', { token: fleet.operatorToken, headers: evil })
      for (const heard of [preflight, read])
        expect(Object.keys(heard.headers).filter((name) => name.startsWith('access-control-'))).toEqual([])
    })

    test.each([
      'evil.example',
      'evil.example:8080',
      '127.0.0.1.evil.example',
      '169.254.169.254',
      'a@127.0.0.1',
      '',
    ])('that has made the name %s mean loopback has no token there either', async (host) => {
      await nothingChanged(async () => {
        for (const one of DOINGS) {
          const heard = await doing('operator', one, { host, headers: evil })
          expect(heard.status).toBeOneOf([400, 401, 403, 421])
          expect(heard.headers['set-cookie']).toBeUndefined()
        }
      })
    })

    test('cannot frame or sniff what it is given', async () => {
      const { headers } = await at('operator', '/openapi.json')
      expect(headers['x-content-type-options']).toBe('nosniff')
    })
  })

  describe('the status listener', () => {
    test.each([
      '/crl/../certs/private/root.key',
      '/crl/../../certs/private/root.key',
      '/crl/..%2f..%2fcerts%2fprivate%2froot.key',
      '/crl/%2e%2e/%2e%2e/certs/private/root.key',
      '/crl/....//....//certs/root.pem',
      '/crl/..\\..\\certs\\private\\root.key',
      '/crl//etc/passwd',
      '/crl/%2fetc%2fpasswd',
      '/crl/x.crl%00.pem',
      '/issuer/../../certs/private/intermediate.key',
      '/issuer/intermediate.cer',
      '/issuer/%00.cer',
      '/crl/',
      '/crl',
      '/issuer/',
      '/',
      '/certs/root.pem',
      '/.git/config',
      '/crl/*.crl',
      "/crl/'%20or%201=1--.crl",
      `/crl/${'a'.repeat(5_000)}.crl`,
      '/crl/__proto__.crl',
      '/issuer/constructor.cer',
      'http://evil.example/crl/x',
      '*',
    ])('%s: nothing', async (target) => {
      const heard = await at('status', target)
      expect(heard.status).toBeOneOf([400, 404])
      expect(heard.raw).not.toMatch(/PRIVATE KEY|root:|BEGIN CERT/)
    })

    test.each(['POST', 'PUT', 'DELETE', 'CONNECT', 'TRACE', 'PATCH'])('%s: nothing', async (method) => {
      expect((await at('status', '/crl/x.crl', { method })).status).toBeOneOf([400, 404, 405])
    })
  })

  describe('too much, or too slowly', () => {
    const listeners: readonly Listener[] = ['status', 'operator', 'devices']
    test.each(listeners)('headers, at %s', async (listener) => {
      const heard = await at(listener, '/x', { headers: [`X: ${'a'.repeat(20_000)}`] })
      expect(heard.status).toBe(431)
    })

    test.each(listeners)('a body, at %s, is not waited for', async (listener) => {
      const started = performance.now()
      const target = { status: '/ocsp', operator: '/v1/apply', devices: '/v1/enroll' }[listener as 'status']
      const head = `POST ${target} HTTP/1.1\r\nHost: ${new URL(fleet.urls[listener] as string).host}\r\nContent-Type: application/json\r\nAuthorization: Bearer ${listener === 'operator' ? fleet.operatorToken : 'x'}\r\nContent-Length: 99999999\r\n\r\n{`
      const heard = await speak(fleet.urls[listener] as string, head)
      expect(heard.status).toBeOneOf([400, 401, 404, 405, 413, 415])
      expect(performance.now() - started).toBeLessThan(PROMPT)
    })

    test.each(listeners)('headers that never end, at %s', async (listener) => {
      const heard = await speak(fleet.urls[listener] as string, 'GET /x HTTP/1.1\r\nHost: localhost\r\nX: y')
      expect(heard.status).toBe(408)
    })

    test.each([
      ['10,000 arrays in each other', '['.repeat(10_000)],
      ['100,000 properties', `{${Array.from({ length: 60_000 }, (_, n) => `"a${n}":1`).join()}}`],
      ['a prototype', '{"__proto__":{"role":"admin"},"name":"x"}'],
      ['a constructor', '{"constructor":{"prototype":{"role":"admin"}},"name":"x","role":"viewer"}'],
      ['a number of 100,000 digits', `{"uses":${'9'.repeat(100_000)}}`],
    ])('%s', async (_, json) => {
      for (const target of ['/v1/operators', '/v1/tokens', '/v1/apply']) {
        const heard = await at('operator', target, {
          method: 'POST',
          token: fleet.operatorToken,
          body: json,
          headers: ['Content-Type: application/json'],
        })
        expect(heard.status).toBe(400)
      }
    })
  })
}
