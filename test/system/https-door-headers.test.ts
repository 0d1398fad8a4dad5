/** Nothing a client sends reaches the origin as if the gateway had said it, and nothing that is the origin's alone reaches the client. */

import type { OutgoingHttpHeaders } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Forward } from '#fleet/access.ts'
import { toPem } from '#pki/pem.ts'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { requestText } from '../support/raw-https.ts'

let door: DoorHarness
let lamp: TestLeaf
let answer: OutgoingHttpHeaders = {}
beforeAll(async () => {
  door = await openDoorHarness({
    answers: {
      '/answer': (_, response) => {
        response.writeHead(200, answer)
        response.end('body')
      },
      '/echo': (request, response) => {
        const assertion = String(request.headers['cf-access-jwt-assertion'])
        response.writeHead(200, {
          'cf-access-jwt-assertion': assertion,
          Cf_Access_Token: assertion,
          'set-cookie': [`CF_Authorization=${assertion}; Path=/`, 'theme=dark'],
          'client-cert': String(request.headers['client-cert']),
        })
        response.end('nothing')
      },
    },
  })
  lamp = await door.device('lamp-1')
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
})

const SPOOF = 'spoofed-by-the-client'
const NAMES = [
  'Cf-Access-Jwt-Assertion',
  'Cf-Access-Token',
  'Cf-Access-Authenticated-User-Email',
  'Cf-Client-Cert-Der-Base64',
  'Cf-Client-Cert-Sha256',
  'Cf-Connecting-IP',
  'Cf-Ray',
  'Client-Cert',
  'Client-Cert-Chain',
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded-Client-Cert',
  'X-Forwarded-Tls-Client-Cert',
  'Forwarded',
  'X-Real-IP',
  'True-Client-IP',
  'X-Client-IP',
  'X-Client-Cert',
  'X-SSL-Client-Verify',
  'SSL-Client-Cert',
  'X-Amzn-Mtls-Clientcert',
  'X-Original-URL',
  'X-Rewrite-URL',
]
/** Ways to write a name that some origin takes for the same one. */
const SPELLINGS: Readonly<Record<string, (name: string) => string>> = {
  plain: (name) => name,
  'lower case': (name) => name.toLowerCase(),
  'upper case': (name) => name.toUpperCase(),
  underscores: (name) => name.replaceAll('-', '_'),
  'mixed underscores': (name) => name.replace('-', '_'),
  'dots, as PHP folds them': (name) => name.replaceAll('-', '.'),
}

const valuesSeen = (): string =>
  JSON.stringify([door.origin.seen[0]?.rawHeaders, door.origin.seen[0]?.trailers])

describe('spoofed request headers', () => {
  const ways: Readonly<Record<string, (lines: readonly string[]) => string>> = {
    'as fields': (lines) => requestText('/', { headers: lines }),
    twice: (lines) => requestText('/', { headers: [...lines, ...lines] }),
    'named in Connection': (lines) =>
      requestText('/', {
        headers: [...lines, `Connection: close, ${lines.map((line) => line.split(':')[0]).join(', ')}`],
      }),
    'as trailers': (lines) =>
      `${requestText('/', { method: 'POST', headers: ['Transfer-Encoding: chunked', `Trailer: ${NAMES.join(', ')}`] })}2\r\nhi\r\n0\r\n${lines.join('\r\n')}\r\n\r\n`,
  }
  for (const [spelling, spell] of Object.entries(SPELLINGS))
    test.each(Object.keys(ways))(`${spelling}, %s`, async (way) => {
      const lines = NAMES.map((name) => `${spell(name)}: ${SPOOF}`)
      const reply = await door.say(ways[way]?.(lines) ?? '', lamp)
      expect(reply.status).toBe(200)
      expect(valuesSeen()).not.toContain(SPOOF)
      const { headers } = door.origin.seen[0] as (typeof door.origin.seen)[number]
      expect(headers['x-forwarded-for']).toEqual(['127.0.0.1'])
      expect(headers['x-forwarded-proto']).toEqual(['https'])
      expect(headers['x-forwarded-host']).toEqual(['a.test'])
      expect(headers['cf-client-cert-sha256']).toEqual([lamp.facts.fingerprint])
      expect(headers['cf-client-cert-der-base64']).toEqual([Buffer.from(lamp.der).toString('base64')])
      expect(headers['client-cert']).toEqual([`:${Buffer.from(lamp.der).toString('base64')}:`])
      expect(headers['client-cert-chain']).toEqual([
        `:${Buffer.from(door.pki.devices.der).toString('base64')}:`,
      ])
      expect(headers['cf-access-jwt-assertion']).toHaveLength(1)
      for (const name of ['trailer', 'te', 'transfer-encoding'])
        if (way !== 'as trailers' || name !== 'transfer-encoding') expect(headers).not.toHaveProperty(name)
    })

  test('Connection cannot take away what the gateway says', async () => {
    const names = ['Host', 'Cf-Access-Jwt-Assertion', 'X-Forwarded-For', 'Client-Cert', 'Content-Length']
    await door.say(
      requestText('/', { method: 'POST', body: 'hi', headers: [`Connection: ${names.join(', ')}`] }),
      lamp,
    )
    const { headers, body } = door.origin.seen[0] as (typeof door.origin.seen)[number]
    for (const name of names) expect(headers[name.toLowerCase()]).toHaveLength(1)
    expect(body).toBe('hi')
  })
  test('what a client names in Connection, and hop-by-hop fields, end here; the rest goes on as it came', async () => {
    await door.say(
      requestText('/', {
        headers: [
          'Connection: X-Private, keep-alive',
          'x-private: 1',
          'Keep-Alive: timeout=5',
          'Proxy-Connection: keep-alive',
          'Proxy-Authorization: Basic x',
          'Proxy_Authorization: Basic x',
          'TE: trailers',
          'HTTP2-Settings: x',
          'X-Public: 1',
          'X-Public: 2',
          'Authorization: Bearer its-own',
          'Accept: */*',
          'X-Latin: caf\u00e9',
        ],
      }),
      lamp,
    )
    const { headers } = door.origin.seen[0] as (typeof door.origin.seen)[number]
    for (const name of [
      'x-private',
      'keep-alive',
      'proxy-connection',
      'proxy-authorization',
      'proxy_authorization',
      'te',
      'http2-settings',
    ])
      expect(headers).not.toHaveProperty(name)
    expect(headers).toMatchObject({
      'x-public': ['1', '2'],
      authorization: ['Bearer its-own'],
      accept: ['*/*'],
    })
    expect(headers['connection']).toEqual(['keep-alive'])
  })

  test.each([
    ['CF_Authorization=x', undefined],
    ['a=1; CF_Authorization=x; b=2', 'a=1; b=2'],
    ['cf_authorization=x; b=2', 'b=2'],
    ['CF_Authorization=x; CF_Authorization=y', undefined],
    ['CF_Authorization_a1b2=x; b=2', 'b=2'],
    ['CF%5FAuthorization=x; b=2', 'b=2'],
    ['CF.Authorization=x; b=2', 'b=2'],
    ['a="b, CF_Authorization=x"; b=2', 'b=2'],
    ['a=1; b=2', 'a=1; b=2'],
  ])('Cookie %s', async (sent, kept) => {
    await door.say(requestText('/', { headers: [`Cookie: ${sent}`] }), lamp)
    expect(door.origin.seen[0]?.headers['cookie']).toEqual(kept === undefined ? undefined : [kept])
  })
  test('a token that a client presents opens nothing, and is not passed on', async () => {
    await door.say(requestText('/'), lamp)
    const assertion = door.origin.seen[0]?.headers['cf-access-jwt-assertion']?.[0] ?? ''
    door.origin.seen.length = 0
    for (const line of [
      `Cf-Access-Jwt-Assertion: ${assertion}`,
      `cf-access-token: ${assertion}`,
      `Cookie: CF_Authorization=${assertion}`,
      `Authorization: Bearer ${assertion}`,
    ]) {
      const reply = await door.say(requestText('/', { headers: [line] }))
      expect([line.split(':')[0], reply.status]).toEqual([line.split(':')[0], 403])
    }
    expect(door.origin.seen).toEqual([])
  })
})

test('a service token is looked at, and stays here', async () => {
  const fields = await door.serviceToken('robot-1')
  await door.putPolicy({ include: [{ any_valid_service_token: {} }] })
  for (const lines of [
    fields,
    fields.map((line) => line.toLowerCase().replace(/: .*/, line.slice(line.indexOf(':')))),
  ]) {
    door.origin.seen.length = 0
    expect((await door.say(requestText('/', { headers: lines }))).status).toBe(200)
    const { headers } = door.origin.seen[0] as (typeof door.origin.seen)[number]
    expect(
      Object.keys(headers).filter((name) => /cf-access-client|cf-client-cert|client-cert/.test(name)),
    ).toEqual([])
    const [, body = ''] = headers['cf-access-jwt-assertion']?.[0]?.split('.') ?? []
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>
    expect(claims).toMatchObject({ common_name: fields[0]?.split(': ')[1], service_token_id: 'robot-1' })
    expect(claims).not.toHaveProperty('cnf')
  }
  const secret = fields[1]?.split(': ')[1] ?? ''
  expect(JSON.stringify([door.origin.seen, door.log])).not.toContain(secret)
  for (const lines of [
    [fields[0] ?? ''],
    [...fields, ...fields],
    [fields[0] ?? '', 'CF-Access-Client-Secret: x'],
  ]) {
    const reply = await door.say(requestText('/', { headers: lines }), lamp)
    expect([reply.status, reply.headers['www-authenticate']]).toEqual([401, 'Cf-Access'])
    expect(reply.body).toContain('token_invalid')
  }
  await door.putPolicy({})
})

describe('the certificate, in the forms that the application asks for', () => {
  const told = async (forward: readonly Forward[], leaf: TestLeaf | undefined = lamp) => {
    await door.putHttps({ forward })
    expect((await door.say(requestText('/'), leaf)).status).toBe(200)
    await door.putHttps({})
    return door.origin.seen.at(-1)?.headers ?? {}
  }
  test('X-Forwarded-Client-Cert, as Envoy writes it', async () => {
    const headers = await told(['xfcc'])
    const pem = (...ders: readonly Uint8Array[]) =>
      encodeURIComponent(ders.map((der) => toPem('CERTIFICATE', der)).join(''))
    expect(headers['x-forwarded-client-cert']).toEqual([
      [
        'By=https://a.test',
        `Hash=${lamp.facts.fingerprint}`,
        `Cert="${pem(lamp.der)}"`,
        `Chain="${pem(lamp.der, door.pki.devices.der)}"`,
        'Subject="CN=lamp-1"',
        'URI=urn:sallyport:device:lamp-1',
      ].join(';'),
    ])
    expect(headers).not.toHaveProperty('client-cert')
    expect(headers).not.toHaveProperty('cf-client-cert-sha256')
  })
  test('none', async () => {
    const headers = await told([])
    expect(Object.keys(headers).filter((name) => name.includes('cert'))).toEqual([])
    expect(headers).toHaveProperty('cf-access-jwt-assertion')
  })
  test('nobody’s: a bypass tells the origin of nobody, whatever certificate came along', async () => {
    await door.putPolicy({ decision: 'bypass', include: [{ everyone: {} }] })
    for (const leaf of [undefined, lamp]) {
      const headers = await told(['cloudflare', 'rfc9440', 'xfcc'], leaf)
      expect(Object.keys(headers).filter((name) => /cert|cf-|assertion/.test(name))).toEqual([])
      expect(headers['x-forwarded-for']).toEqual(['127.0.0.1'])
    }
    await door.putPolicy({})
  })
})

describe('what the client is told', () => {
  const ask = async (headers: OutgoingHttpHeaders) => {
    answer = headers
    return door.say(requestText('/answer'), lamp)
  }
  test('no token anywhere in the response, even if the origin gives it away in its header', async () => {
    const reply = await door.say(requestText('/echo'), lamp)
    const assertion = door.origin.seen[0]?.headers['cf-access-jwt-assertion']?.[0] ?? ''
    expect(assertion.length).toBeGreaterThan(100)
    expect(reply.raw).not.toContain(assertion)
    expect(reply.raw.toLowerCase()).not.toMatch(/cf[-_]access|cf_authorization|client-cert/)
    expect(reply.headers['set-cookie']).toBe('theme=dark')
  })
  test('nor in an ordinary one', async () => {
    const reply = await door.say(requestText('/'), lamp)
    expect(reply.headers).not.toHaveProperty('set-cookie')
    expect(reply.raw).not.toMatch(/eyJ/)
  })
  test.each([
    'CF_Authorization=x',
    'cf_authorization=x; HttpOnly',
    'CF_Authorization_a1=x',
    ' CF_Authorization=x',
    'CF%5fAuthorization=x',
    'CF_Authorization',
    '=CF_Authorization=x',
    ' ==CF_Authorization; Path=/',
  ])('Set-Cookie %s is not passed on', async (cookie) => {
    const reply = await ask({ 'set-cookie': [cookie, 'a=CF_Authorization', 'b=2'] })
    expect(reply.headers['set-cookie']).toBe('a=CF_Authorization, b=2')
  })
  test.each(['Set-Cookie2', 'Set_Cookie', 'set.cookie', 'Set_Cookie2'])(
    '%s is not passed on',
    async (name) => {
      const reply = await ask({ [name]: 'CF_Authorization=x', 'Set-Cookie': ['a=1', '=nameless'] })
      expect(reply.raw).not.toContain('CF_Authorization')
      expect(reply.headers['set-cookie']).toBe('a=1, =nameless')
    },
  )
  test("hop-by-hop fields, the origin's banner and its word on TLS stay behind", async () => {
    const reply = await ask({
      connection: 'X-Private',
      'x-private': '1',
      'keep-alive': 'timeout=5',
      'proxy-authenticate': 'Basic',
      server: 'nginx/1.0',
      'x-powered-by': 'PHP/5',
      'alt-svc': 'h3=":443"',
      'strict-transport-security': 'max-age=0',
      'x-public': ['1', '2'],
      'content-type': 'text/plain',
    })
    for (const name of ['x-private', 'keep-alive', 'proxy-authenticate', 'server', 'x-powered-by', 'alt-svc'])
      expect(reply.headers).not.toHaveProperty(name)
    expect(reply.headers).toMatchObject({
      connection: 'close',
      'strict-transport-security': 'max-age=31536000',
      'x-public': '1, 2',
      'content-type': 'text/plain',
    })
  })
  test('statuses, lengths and bodies as the origin gave them', async () => {
    const reply = await ask({ 'content-length': '4' })
    expect(reply).toMatchObject({ status: 200, body: 'body', headers: { 'content-length': '4' } })
    expect(reply.headers).not.toHaveProperty('transfer-encoding')
    const head = await door.say(requestText('/answer', { method: 'HEAD' }), lamp)
    expect(head).toMatchObject({ status: 200, body: '' })
  })
})
