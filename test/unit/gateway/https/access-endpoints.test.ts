/** `/cdn-cgi/access/`: over a real HTTP server, with verdicts and sessions that the test makes up. */

import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Admission } from '#gateway/admission.ts'
import { serveAccessEndpoint } from '#gateway/https/access-endpoints.ts'
import type { Sessions } from '#gateway/sessions/sessions.ts'
import { NO_CREDENTIALS } from '#policy/admission.ts'
import type { Decision, Identity } from '#policy/decision.ts'
import { createLog } from '#runtime/log.ts'
import { application } from '../../../support/registry.ts'

const HOST = 'a.test'
const PEER: Peer = {
  leaf: undefined,
  sentChain: [],
  trusted: false,
  resumed: false,
  serverName: HOST,
  address: '192.0.2.1',
}
const SUBJECT = 'ab'.repeat(32)
const FORGET = 'CF_Authorization=; Max-Age=0'
const JWKS = '{"keys":[],"public_certs":[]}'

const allowed = (identity: Identity, over = {}): Decision => ({
  allow: true,
  identity,
  application: application(),
  policy: 'certificate',
  notAfter: Infinity,
  plan: { duration: 0, binding: 'certificate' },
  ...over,
})
const LAMP: Identity = { kind: 'device', id: 'lamp-1' as DeviceId, group: 'default', tags: { secret: 'x' } }

/** what the test decides for the next request */
const given = {
  decision: allowed(LAMP),
  peer: PEER,
  known: (): boolean => true,
  ended: undefined as ReturnType<Sessions['end']>,
}
const asked = {
  whoIs: vi.fn<Admission['whoIs']>(() => given.decision),
  record: vi.fn<Admission['record']>(),
  end: vi.fn<Sessions['end']>(() => given.ended),
  forget: vi.fn<Sessions['forget']>(() => [FORGET]),
  /** resolves when the last one's client has gone, or has its answer */
  closed: Promise.resolve<unknown>(undefined),
  lines: [] as Record<string, unknown>[],
  failed: [] as FleetError[],
}
const log = createLog('gateway', 'info', {
  write: (line) => void asked.lines.push(JSON.parse(line) as Record<string, unknown>),
})

let server: Server
let url: string
beforeAll(async () => {
  server = createServer((request, response) => {
    asked.closed = once(response, 'close')
    const refuse = (error: FleetError, cookies: readonly string[] = []): undefined => {
      response
        .writeHead(400, ['X-Reason', error.code, ...cookies.flatMap((each) => ['Set-Cookie', each])])
        .end()
    }
    const served = serveAccessEndpoint(
      {
        admission: asked,
        sessions: {
          credentialsOf: () => NO_CREDENTIALS,
          held: () => ({ applicationId: 'app-1', subject: SUBJECT }),
          end: asked.end,
          forget: asked.forget,
        },
        keys: { published: () => JWKS },
        log,
        isKnownHost: () => given.known(),
      },
      {
        request,
        response,
        requestId: 'r-1',
        peer: given.peer,
        host: HOST,
        path: request.url ?? '',
        denied: refuse,
        notServed: (error) => {
          asked.failed.push(error)
          refuse(error)
        },
      },
    )
    if (!served) response.writeHead(299).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
})

const ask = async (
  path: string,
  o: RequestInit & { given?: Partial<typeof given> } = {},
): Promise<{ status: number; reason: string | null; headers: Headers; text: string }> => {
  Object.assign(given, { decision: allowed(LAMP), peer: PEER, known: () => true, ended: undefined }, o.given)
  for (const mock of [asked.whoIs, asked.record, asked.end, asked.forget]) mock.mockClear()
  asked.lines.length = asked.failed.length = 0
  const reply = await fetch(url + path, o)
  const { status, headers } = reply
  return { status, reason: headers.get('x-reason'), headers, text: await reply.text() }
}

describe('what is an endpoint, and what is the application’s', () => {
  test.each([
    ['/', 299],
    ['/cdn-cgi', 299],
    ['/cdn-cgi/accessory', 299],
    ['/cdn-cgi/trace', 299],
    ['/CDN-CGI/access/certs', 299],
    ['/x/cdn-cgi/access/certs', 299],
    ['/cdn-cgi/access/certs', 200],
  ])('%s', async (path, status) => {
    expect((await ask(path)).status).toBe(status)
  })
  test.each([
    '/cdn-cgi/access',
    '/cdn-cgi/access/',
    '/cdn-cgi/access/certs/',
    '/cdn-cgi/access/certs;x',
    '/cdn-cgi/access/Certs',
    '/cdn-cgi/access/login',
    '/cdn-cgi/access/__proto__',
  ])('%s is nothing, and never an origin’s', async (path) => {
    expect((await ask(path)).reason).toBe('not_found')
    expect(asked.failed.length).toBe(1)
  })
  test.each([
    ['POST', 'certs'],
    ['DELETE', 'certs'],
    ['HEAD', 'logout'],
    ['PUT', 'logout'],
    ['POST', 'get-identity'],
    ['OPTIONS', 'get-identity'],
  ])('%s of %s', async (method, name) => {
    expect((await ask(`/cdn-cgi/access/${name}`, { method })).reason).toBe('method_not_allowed')
    expect(asked.end).not.toHaveBeenCalled()
  })
})

describe('to whom nothing is said', () => {
  test.each<[string, Partial<typeof given>, string]>([
    ['a resumed session', { peer: { ...PEER, resumed: true } }, 'session_resumed'],
    ['another server name', { peer: { ...PEER, serverName: 'b.test' } }, 'host_mismatch'],
    ['no server name', { peer: { ...PEER, serverName: undefined } }, 'host_mismatch'],
    ['an unknown host', { known: () => false }, 'no_application'],
    [
      'a registry that cannot be read',
      {
        known: () => {
          throw new FleetError('registry_unavailable', 'locked')
        },
      },
      'registry_unavailable',
    ],
  ])('%s', async (_, over, reason) => {
    for (const path of ['/cdn-cgi/access/certs', '/cdn-cgi/access/logout', '/cdn-cgi/access/x']) {
      expect((await ask(path, { given: over })).reason).toBe(reason)
      // as any other refusal: a line and a count
      expect(asked.record.mock.calls).toEqual([
        [
          given.peer,
          { door: 'https', host: HOST, method: 'GET', target: path },
          { allow: false, reason },
          'r-1',
        ],
      ])
      expect(asked.end).not.toHaveBeenCalled()
    }
  })
})

describe('certs', () => {
  test('are for everyone, and may be kept', async () => {
    const { status, headers, text } = await ask('/cdn-cgi/access/certs')
    expect([status, text]).toEqual([200, JWKS])
    expect(headers.get('content-type')).toBe('application/json')
    expect(headers.get('cache-control')).toBe('public, max-age=300')
    expect(asked.whoIs).not.toHaveBeenCalled()
  })
  test('HEAD has no body', async () => {
    const { headers, text } = await ask('/cdn-cgi/access/certs', { method: 'HEAD' })
    expect([headers.get('content-length'), text]).toEqual([String(JWKS.length), ''])
  })
})

describe('logout', () => {
  const session = { applicationId: 'app-1', subject: SUBJECT }
  test.each(['GET', 'POST'])('%s ends the session, says so to the client, and to the log', async (method) => {
    const { status, headers, text } = await ask('/cdn-cgi/access/logout', {
      method,
      given: { ended: session },
    })
    expect([status, headers.get('set-cookie'), headers.get('cache-control')]).toEqual([
      200,
      FORGET,
      'no-store',
    ])
    expect([headers.get('content-type'), text]).toEqual([
      'text/plain; charset=utf-8',
      'Your sessions have ended.\n',
    ])
    expect(asked.end.mock.calls[0]?.[1]).toBe(HOST)
    expect(asked.lines).toEqual([
      expect.objectContaining({ msg: 'logged out', session: SUBJECT.slice(0, 16) }),
    ])
  })
  test('is answered when the other processes know, or its client has gone', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const ended = { ...session, everywhere: promise }
    let answered = false
    const reply = ask('/cdn-cgi/access/logout', { given: { ended } }).finally(() => (answered = true))
    const left = new AbortController()
    await vi.waitUntil(() => asked.end.mock.calls.length === 1)
    const gone = fetch(`${url}/cdn-cgi/access/logout`, { signal: left.signal })
    await vi.waitUntil(() => asked.end.mock.calls.length === 2)
    expect(answered).toBe(false)
    const { closed } = asked
    left.abort()
    await expect(gone).rejects.toThrow()
    await closed
    resolve()
    expect(await reply).toMatchObject({ status: 200, text: 'Your sessions have ended.\n' })
    // the one that has gone was written nothing
    expect(asked.forget).toHaveBeenCalledTimes(1)
  })
  test('without a session the cookie goes all the same, and nothing is logged', async () => {
    const { status, headers } = await ask('/cdn-cgi/access/logout')
    expect([status, headers.get('set-cookie'), asked.lines]).toEqual([200, FORGET, []])
  })
  test('a browser gets a page, in which nothing can run', async () => {
    const { headers, text } = await ask('/cdn-cgi/access/logout', {
      headers: { accept: 'text/html,*/*;q=0.8' },
    })
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(text).toContain('<h1>Logged out</h1>')
  })
  test('needs no certificate', async () => {
    await ask('/cdn-cgi/access/logout')
    expect(asked.whoIs).not.toHaveBeenCalled()
  })
})

describe('get-identity', () => {
  const identityOf = async (decision: Decision): Promise<unknown> => {
    const { status, headers, text } = await ask('/cdn-cgi/access/get-identity', { given: { decision } })
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
    return JSON.parse(text)
  }
  test.each<[string, Decision, object]>([
    [
      'a device',
      allowed(LAMP),
      {
        id: 'lamp-1',
        type: 'device',
        common_name: 'lamp-1',
        device_id: 'lamp-1',
        auth_status: 'SUCCESS',
        ip: '192.0.2.1',
      },
    ],
    [
      'a device in a session',
      allowed(LAMP, { session: { id: 'jti-1', issuedAt: 1_000, expiresAt: 61_000 } }),
      {
        id: 'lamp-1',
        type: 'device',
        common_name: 'lamp-1',
        device_id: 'lamp-1',
        auth_status: 'SUCCESS',
        jti: 'jti-1',
        iat: 1,
        exp: 61,
        ip: '192.0.2.1',
      },
    ],
    [
      'a foreign certificate',
      allowed({ kind: 'foreign', anchor: 'partner', name: 'lamp-1' }),
      {
        id: 'partner/lamp-1',
        type: 'foreign',
        common_name: 'lamp-1',
        anchor: 'partner',
        auth_status: 'SUCCESS',
        ip: '192.0.2.1',
      },
    ],
    [
      'a service token',
      allowed({ kind: 'service', id: 'st-1', name: 'backups' }),
      {
        id: 'service token backups',
        type: 'service',
        service_token_id: 'st-1',
        service_token_status: true,
        auth_status: 'SUCCESS',
        ip: '192.0.2.1',
      },
    ],
  ])('%s', async (_, decision, expected) => {
    expect(await identityOf(decision)).toEqual(expected)
  })
  test('is asked with the application whose session came along', async () => {
    await ask('/cdn-cgi/access/get-identity')
    expect(asked.whoIs.mock.calls[0]).toEqual([PEER, HOST, NO_CREDENTIALS, 'app-1'])
    expect(asked.record).not.toHaveBeenCalled()
  })
  test.each([
    ['certificate_required', null],
    ['device_suspended', null],
    ['session_expired', null],
    ['token_invalid', FORGET],
    ['token_binding_mismatch', FORGET],
  ] as const)('%s is refused, and logged', async (reason, cookie) => {
    const decision = { allow: false, reason } as const
    const reply = await ask('/cdn-cgi/access/get-identity', { given: { decision } })
    expect([reply.reason, reply.headers.get('set-cookie')]).toEqual([reason, cookie])
    expect(asked.record.mock.calls[0]?.[2]).toBe(decision)
  })
})
