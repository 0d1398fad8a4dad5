import { X509Certificate } from 'node:crypto'
import { inspect } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { certsOnly } from '#pki/pkcs7.ts'
import { enrollByEst } from '#device-sim/client/enroll-est.ts'
import { createImpostor } from '#device-sim/client/impostor.ts'
import { newKey } from '#device-sim/client/key.ts'
import { createWorld, httpsServer, type World } from '../../../support/faulty-servers.ts'

const raw = (pem: string): Buffer => new X509Certificate(pem).raw
const p7 = (...pems: string[]): string => Buffer.from(certsOnly(pems.map(raw))).toString('base64')

let world: World
let other: World
let keyPem: string
let token: string
/** leaf and the CA between it and the root */
let leaf: string
let above: string
let anotherName: string
beforeAll(async () => {
  world = await createWorld()
  other = await createWorld()
  keyPem = await newKey('P-256')
  ;({ token } = world)
  const issuing = await world.ca.intermediate('issuing')
  above = issuing.rootPem
  leaf = (await issuing.issue({ commonName: 'pump-7', keyPem })).certificatePem
  anotherName = (await issuing.issue({ commonName: 'pump-8', keyPem })).certificatePem
})

type Reply = {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}
const CERTS = { 'content-type': 'application/pkcs7-mime; smime-type=certs-only' }
const good = (...pems: string[]): Reply => ({ headers: CERTS, body: p7(...pems) })

const server = async (
  enroll: Reply,
  cacerts: () => Reply = () => good(above, world.ca.rootPem),
  by = world,
) => {
  const heard: string[] = []
  const listening = await httpsServer(by.tls, (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      heard.push([request.method, request.url, request.headers.authorization, Buffer.concat(parts)].join(' '))
      const { status = 200, headers = {}, body = '' } = request.url?.endsWith('/cacerts') ? cacerts() : enroll
      response.writeHead(status, headers)
      response.end(body)
    })
  })
  return {
    heard,
    url: `https://localhost:${listening.port}`,
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  }
}

const enrol = (url: string, o: object = {}) =>
  enrollByEst({ server: url, token, id: 'pump-7', keyPem, rootPem: world.ca.rootPem, ...o })

describe('what comes back', () => {
  test.each<[string, () => Reply, number]>([
    ['the certificate alone: the chain is asked for', () => good(leaf), 2],
    ['the certificate behind its chain', () => good(world.ca.rootPem, above, leaf), 1],
    ['wrapped', () => ({ headers: CERTS, body: p7(leaf).replaceAll(/.{76}/g, '$&\r\n') }), 2],
    [
      'a type in other letters',
      () => ({ headers: { 'content-type': 'Application/PKCS7-mime' }, body: p7(leaf) }),
      2,
    ],
  ])('%s', async (_what, reply, requests) => {
    await using it = await server(reply())
    const enrolled = await enrol(it.url)
    expect(enrolled).toMatchObject({ deviceId: 'pump-7', certificatePem: leaf, chainPem: above })
    expect(enrolled.notAfter).toBe(new X509Certificate(leaf).validToDate.getTime())
    expect(it.heard).toHaveLength(requests)
    const [, path, scheme, basic, csr] = it.heard[0]?.split(' ') ?? []
    expect([path, scheme]).toEqual(['/.well-known/est/simpleenroll', 'Basic'])
    expect(Buffer.from(basic ?? '', 'base64').toString()).toBe(`pump-7:${token}`)
    expect(Buffer.from(csr ?? '', 'base64')[0]).toBe(0x30)
    expect(it.heard.join()).not.toContain('PRIVATE')
  })

  test.each<[string, () => Reply]>([
    ['another type', () => ({ headers: { 'content-type': 'text/html' }, body: p7(leaf) })],
    ['no base64', () => ({ headers: CERTS, body: '<html>' })],
    ['nothing', () => ({ headers: CERTS })],
    ['a certificate for another key', () => good(above)],
    ['a certificate of another name', () => good(anotherName)],
    ['a chain that does not lead to the root', () => good(leaf, other.ca.rootPem)],
  ])('%s is refused', async (_what, reply) => {
    await using it = await server(reply())
    await expect(enrol(it.url)).rejects.toMatchObject({
      code: expect.stringMatching(/expectation_broken|target_unreachable/) as string,
    })
  })
})

test.each<[string, Reply, object]>([
  [
    'in our words',
    { status: 401, body: 'The token has no uses left: ask for another (token_spent, request 1-2)\n' },
    { code: 'token_spent', detail: expect.stringContaining('no uses left') as string },
  ],
  ['in words of another server', { status: 403, body: 'no (way, request x y)' }, { code: 'forbidden' }],
  ['without any', { status: 401 }, { code: 'credential_required' }],
  [
    'with a time',
    { status: 503, headers: { 'retry-after': '7' } },
    { code: 'registry_unavailable', retryAfter: 7 },
  ],
  ['of a status unknown', { status: 418 }, { code: 'internal' }],
  ['that is none', { status: 302 }, { code: 'target_unreachable' }],
  ['to wait', { status: 202, headers: { 'retry-after': '9' } }, { code: 'rate_limited', retryAfter: 9 }],
  ['to wait, and not for how long', { status: 202 }, { code: 'rate_limited', retryAfter: 60 }],
])('an answer %s', async (_what, reply, error) => {
  await using it = await server(reply)
  await expect(enrol(it.url)).rejects.toMatchObject(error)
})

test('a server that shows the credential gets it into no error, however much else it says', async () => {
  const basic = Buffer.from(`pump-7:${token}`).toString('base64')
  await using it = await server({
    status: 403,
    body: `blocked: Basic ${basic} ${token} ${'x'.repeat(9_000)}`,
  })
  const error: unknown = await enrol(it.url).catch((why: unknown) => why)
  expect(error).toMatchObject({ code: 'forbidden', detail: expect.stringContaining('[redacted]') as string })
  for (const secret of [basic, token]) expect(inspect(error, { depth: 9 })).not.toContain(secret)
  expect(String(error).length).toBeLessThan(700)
})

describe('first contact, when no root was given', () => {
  test('the root comes with cacerts, and is held to the pin of the token before that is sent', async () => {
    await using it = await server(good(leaf))
    expect((await enrol(it.url, { rootPem: undefined })).rootPem).toBe(world.ca.rootPem)
    expect(it.heard[0]).toMatch(/^GET \/.well-known\/est\/cacerts {2}$/)
  })

  test.each<[string, () => Reply]>([
    ['another root', () => good(other.ca.rootPem)],
    ['the genuine one, which is public, without its key', () => good(world.ca.rootPem)],
    ['no PKCS #7', () => ({ headers: CERTS, body: 'AAAA' })],
  ])('a server that shows %s does not get the token', async (_what, cacerts) => {
    await using it = await server(good(leaf), cacerts, other)
    await expect(enrol(it.url, { rootPem: undefined })).rejects.toBeDefined()
    expect(it.heard.filter((line) => line.includes('Basic'))).toEqual([])
  })
})

test('a loop in what was sent as a chain is no chain', async () => {
  const loop = await createImpostor('loop', Date.now())
  const own = (await loop.issue({ commonName: 'pump-7', keyPem })).certificatePem
  await using it = await server(good(own, loop.rootPem, loop.rootPem))
  await expect(enrol(it.url)).rejects.toBeDefined()
})
