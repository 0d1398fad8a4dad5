import { createHash, X509Certificate } from 'node:crypto'
import { inspect } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { adviceFor, confirmDevice, enrollDevice, renewDevice } from '#device-sim/client/enroll-device.ts'
import type { Forgery } from '#device-sim/client/impostor.ts'
import type { Identity } from '#device-sim/index.ts'
import { CLAIM_SECRET, createWorld, httpsServer, type World } from '../../../support/faulty-servers.ts'

let genuine: World
let other: World
let issued: Identity
let token: string

const sha256 = (pem: string): Buffer => createHash('sha256').update(new X509Certificate(pem).raw).digest()

beforeAll(async () => {
  genuine = await createWorld()
  other = await createWorld()
  issued = await genuine.device('pump-7')
  ;({ token } = genuine)
})

type Reply = { readonly status?: number; readonly type?: string; readonly body: unknown }

const serialOf = (pem: string): string => new X509Certificate(pem).serialNumber.toLowerCase()

/** What a desk says with this certificate. */
const said = (certificate: string): Record<string, string> => {
  const { validFromDate, validToDate } = new X509Certificate(certificate)
  return {
    device_id: 'pump-7',
    certificate,
    chain: '',
    serial: serialOf(certificate),
    not_before: validFromDate.toISOString(),
    not_after: validToDate.toISOString(),
    renew_after: new Date((validFromDate.getTime() + validToDate.getTime()) / 2).toISOString(),
  }
}
const good = (): Record<string, string> => said(issued.certificatePem)

/** An enrol server that writes down everything it hears. */
const recorder = async (world: World, trustPem: string, reply: Reply | (() => Reply) = { body: good() }) => {
  const heard: string[] = []
  const server = await httpsServer(world.tls, (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      heard.push(
        [request.method, request.url, ...request.rawHeaders, Buffer.concat(parts).toString()].join(' '),
      )
      const {
        status,
        type = 'application/json',
        body,
      }: Reply = request.url === '/v1/trust.pem'
        ? { status: 200, body: trustPem }
        : { status: 201, ...(typeof reply === 'function' ? reply() : reply) }
      response.writeHead(status ?? 201, { 'content-type': type })
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  return {
    heard,
    url: `https://localhost:${server.port}`,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** The JSON at the end of what was heard. */
const bodyOf = (heard: string | undefined): string => heard?.slice(heard.indexOf('{')) ?? ''

const enrol = (server: string, o: object = {}) =>
  enrollDevice({ server, token, id: 'pump-7', keyPem: issued.keyPem, ...o })

describe('first contact', () => {
  test('a server that shows the pinned root, and proves it, gets the token', async () => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    const enrolled = await enrol(server.url)
    expect(enrolled).toMatchObject({ deviceId: 'pump-7', serial: serialOf(issued.certificatePem) })
    expect(enrolled.notAfter).toBe(new X509Certificate(issued.certificatePem).validToDate.getTime())
    expect(server.heard.map((text) => text.split(' ')[1])).toEqual(['/v1/trust.pem', '/v1/enroll'])
    expect(server.heard[0]).not.toContain(CLAIM_SECRET)
    expect(server.heard[1]).toContain(`Bearer ${token}`)
    // the private key stays
    expect(server.heard.join()).not.toContain('PRIVATE KEY')
  })

  test.each([
    ['another root', () => other.ca.rootPem],
    ['no certificate', () => 'nothing here'],
    ['a hundred roots, none of them it', () => other.ca.rootPem.repeat(100)],
    ['a broken certificate', () => genuine.ca.rootPem.replace(/M/g, 'N')],
  ])('a server that shows %s does not get the token', async (_what, trust) => {
    await using server = await recorder(other, trust())
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'target_unreachable' })
    expect(server.heard).toHaveLength(1)
    expect(server.heard.join()).not.toContain(CLAIM_SECRET)
  })

  test('an impostor that shows the genuine root, which is public, but cannot prove it, does not get the token', async () => {
    await using server = await recorder(other, genuine.ca.rootPem)
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'target_unreachable' })
    expect(server.heard.join()).not.toContain(CLAIM_SECRET)
  })

  test('an impostor does not get it either when it hides the genuine root among its own', async () => {
    await using server = await recorder(other, other.ca.rootPem + genuine.ca.rootPem)
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'target_unreachable' })
    expect(server.heard.join()).not.toContain(CLAIM_SECRET)
  })

  test.each([
    ['a root given by hand that is not the one in the token', () => ({ rootPem: other.ca.rootPem })],
    ['a hash given by hand that is not the one in the token', () => ({ rootSha256: '0'.repeat(64) })],
  ])('%s stops it before anything is sent', async (_what, hints) => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    await expect(enrol(server.url, hints())).rejects.toMatchObject({ code: 'target_unreachable' })
    expect(server.heard).toEqual([])
  })

  test.each([
    ['PEM', () => ({ rootPem: other.ca.rootPem + genuine.ca.rootPem })],
    ['hash', () => ({ rootSha256: sha256(genuine.ca.rootPem).toString('hex').toUpperCase() })],
  ])('the right root given by hand as %s is taken', async (_what, hints) => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    expect((await enrol(server.url, hints())).rootPem).toBe(
      new X509Certificate(genuine.ca.rootPem).toString(),
    )
  })

  test('text that is no token is sent nowhere', async () => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    await expect(enrol(server.url, { token: 'spt1.nonsense' })).rejects.toMatchObject({
      code: 'token_invalid',
    })
    expect(server.heard).toEqual([])
  })
})

describe('what comes back is checked', () => {
  test('a refusal carries the reason, the detail and the problem itself', async () => {
    const problem = { reason: 'token_spent', detail: 'no uses left', status: 401, request_id: 'r1' }
    const reply = { status: 401, type: 'application/problem+json', body: problem }
    await using server = await recorder(genuine, genuine.ca.rootPem, reply)
    await expect(enrol(server.url)).rejects.toMatchObject({
      code: 'token_spent',
      detail: 'no uses left',
      cause: problem,
    })
  })

  test('a refusal in words unknown is internal', async () => {
    await using server = await recorder(genuine, genuine.ca.rootPem, { status: 500, body: 'oh' })
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'internal' })
  })

  const broken: [string, () => unknown][] = [
    ['another device', () => ({ ...good(), device_id: 'pump-8' })],
    ['no certificate', () => ({ ...good(), certificate: '' })],
    ['a certificate of another root', () => ({ ...good(), certificate: other.ca.rootPem })],
    ['nothing', () => ({})],
    ['null', () => null],
    ['no JSON', () => '<html>'],
  ]
  test.each(broken)('%s', async (_what, body) => {
    await using server = await recorder(genuine, genuine.ca.rootPem, { body: body() })
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'expectation_broken' })
  })

  const HOURS = 3_600_000
  test.each<[string, Omit<Forgery, 'commonName'>]>([
    ['that has expired', { notBefore: Date.now() - 2 * HOURS, notAfter: Date.now() - HOURS }],
    ['that is not valid yet', { notBefore: Date.now() + HOURS, notAfter: Date.now() + 2 * HOURS }],
    ['for servers', { purpose: 'server' }],
    ['for nothing', { purpose: 'none' }],
    ['of a CA', { isCa: true }],
    ["with another's name beside", { uris: ['urn:sallyport:device:pump-7', 'urn:sallyport:device:pump-8'] }],
  ])('a certificate %s', async (_what, forgery) => {
    const { keyPem } = issued
    const { certificatePem } = await genuine.ca.issue({ ...forgery, commonName: 'pump-7', keyPem })
    await using server = await recorder(genuine, genuine.ca.rootPem, { body: said(certificatePem) })
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'expectation_broken' })
  })

  test.each<[string, () => Record<string, string>]>([
    ['another serial', () => ({ serial: 'ff' })],
    ['a longer life', () => ({ not_after: new Date(Date.now() + 1_000 * 24 * HOURS).toISOString() })],
    [
      'to renew it when it has ended',
      () => ({ renew_after: new Date(Date.now() + 48 * HOURS).toISOString() }),
    ],
    ['to renew it long ago', () => ({ renew_after: '2020-01-01T00:00:00.000Z' })],
    ['two certificates', () => ({ certificate: issued.certificatePem + issued.certificatePem })],
    [
      'an unreadable one before it',
      () => ({ certificate: genuine.ca.rootPem.replace(/M/g, 'N') + issued.certificatePem }),
    ],
    ['an unreadable one in the chain', () => ({ chain: genuine.ca.rootPem.replace(/M/g, 'N') })],
    ['something else in the chain', () => ({ chain: '-----BEGIN X-----\n-----END X-----' })],
    ['a leaf in the chain, as issuer', () => ({ chain: issued.certificatePem })],
  ])('a reply that says %s', async (_what, more) => {
    await using server = await recorder(genuine, genuine.ca.rootPem, { body: { ...good(), ...more() } })
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'expectation_broken' })
  })

  test('what stands beside the certificate is not kept', async () => {
    const certificate = `hello\n${issued.certificatePem}\nworld`
    await using server = await recorder(genuine, genuine.ca.rootPem, { body: { ...good(), certificate } })
    expect((await enrol(server.url)).certificatePem).toBe(
      new X509Certificate(issued.certificatePem).toString(),
    )
  })

  test.each([
    ['as it is', (text: string) => text],
    ['spelt in another way', (text: string) => text.replaceAll('s', '\\u0073')],
  ])('a proxy that shows the credential, %s, gets it into no error', async (_what, spell) => {
    const detail = spell(`blocked: Bearer ${token} ${'x'.repeat(9_000)}`)
    const reply = {
      status: 403,
      type: 'application/problem+json',
      body: `{"reason":"forbidden","detail":"${detail}"}`,
    }
    await using server = await recorder(genuine, genuine.ca.rootPem, reply)
    const error: unknown = await enrol(server.url).catch((why: unknown) => why)
    expect(error).toMatchObject({
      code: 'forbidden',
      detail: expect.stringContaining('[redacted]') as string,
    })
    expect(String(error).length).toBeLessThan(700)
    expect(inspect(error, { depth: 9 })).not.toContain(CLAIM_SECRET)
  })

  test('a certificate for another key', async () => {
    const { certificatePem } = await genuine.device('pump-7')
    await using server = await recorder(genuine, genuine.ca.rootPem, { body: said(certificatePem) })
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'expectation_broken' })
  })

  test('a certificate that another CA made for this key, under the same names', async () => {
    const chain = other.ca.rootPem
    await using server = await recorder(genuine, genuine.ca.rootPem, { body: { ...good(), chain } })
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'expectation_broken' })
  })
})

test('renewal presents the certificate and sends no token', async () => {
  await using server = await recorder(genuine, genuine.ca.rootPem)
  const enrolled = await enrol(server.url)
  server.heard.length = 0
  expect(await renewDevice({ server: server.url, enrolled })).toMatchObject({ keyPem: enrolled.keyPem })
  expect(server.heard).toHaveLength(1)
  expect(server.heard[0]).toMatch(/^POST \/v1\/renew/)
  expect(server.heard[0]).not.toMatch(/authorization/i)
})

describe('an operator is to decide', () => {
  const wait = { state: 'waiting', request_id: 'r-1', retry_after: 1 }

  test('it says so each time, and asks again with the same key until there is a certificate', async () => {
    const replies: Reply[] = [{ status: 202, body: wait }, { body: good() }]
    await using server = await recorder(genuine, genuine.ca.rootPem, () => replies.shift() as Reply)
    const told: unknown[] = []
    const enrolled = await enrol(server.url, { onWaiting: (each: unknown) => told.push(each) })
    expect(enrolled.serial).toBe(serialOf(issued.certificatePem))
    expect(told).toEqual([{ requestId: 'r-1', retryAfter: 1 }])
    const [, first, second] = server.heard
    expect([bodyOf(first), bodyOf(second)].map((text) => JSON.parse(text) as object)).toMatchObject([
      { device_id: 'pump-7' },
      { device_id: 'pump-7' },
    ])
  })

  test('who cannot wait is told for how long to stay away', async () => {
    await using server = await recorder(genuine, genuine.ca.rootPem, { status: 202, body: wait })
    await expect(enrol(server.url)).rejects.toMatchObject({ code: 'rate_limited', retryAfter: 1 })
  })

  test('the run ends: it waits no longer', async () => {
    const body = { ...wait, retry_after: 3_600 }
    await using server = await recorder(genuine, genuine.ca.rootPem, { status: 202, body })
    const stop = new AbortController()
    const waiting = enrol(server.url, { signal: stop.signal, onWaiting: () => stop.abort() })
    await expect(waiting).rejects.toMatchObject({ code: 'target_unreachable' })
  })

  test.each([
    ['not for how long', { state: 'waiting', request_id: 'r-1' }],
    ['no time at all', { ...wait, retry_after: 0 }],
    ['half a second', { ...wait, retry_after: 0.5 }],
    ['for whom', { state: 'waiting', retry_after: 1 }],
  ])('a server that says to wait and %s is broken', async (_what, body) => {
    await using server = await recorder(genuine, genuine.ca.rootPem, { status: 202, body })
    const asking = enrol(server.url, { onWaiting: () => undefined })
    await expect(asking).rejects.toMatchObject({ code: 'expectation_broken' })
  })
})

describe('without a token', () => {
  test('the root is what was given, and no credential is sent but the group', async () => {
    await using server = await recorder(genuine, other.ca.rootPem)
    const asked = { token: undefined, group: 'pumps', rootPem: genuine.ca.rootPem }
    expect((await enrol(server.url, asked)).serial).toBe(serialOf(issued.certificatePem))
    expect(server.heard).toHaveLength(1)
    expect(server.heard[0]).not.toMatch(/authorization/i)
    expect(JSON.parse(bodyOf(server.heard[0]))).toMatchObject({ group: 'pumps', device_id: 'pump-7' })
  })

  test('and without a root nothing is sent', async () => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    await expect(enrol(server.url, { token: undefined })).rejects.toMatchObject({ code: 'config_invalid' })
    expect(server.heard).toEqual([])
  })
})

describe('confirming and asking when to renew', () => {
  test.each<[string, Record<string, string>]>([
    ['says another serial', { serial: '42', state: 'live' }],
    ['says it is pending', { state: 'pending' }],
    ['says nothing', {}],
  ])('a server that %s has confirmed nothing', async (_what, body) => {
    await using genuineServer = await recorder(genuine, genuine.ca.rootPem)
    const held = await enrol(genuineServer.url)
    const reply = { status: 200, body: 'state' in body ? { serial: held.serial, ...body } : body }
    await using server = await recorder(genuine, genuine.ca.rootPem, reply)
    const asked = confirmDevice({ server: server.url, enrolled: held })
    await expect(asked).rejects.toMatchObject({ code: 'expectation_broken' })
    expect(server.heard[0]).toMatch(/^POST \/v1\/confirm/)
  })

  test('confirmed is what the server repeats', async () => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    const held = await enrol(server.url)
    const body = { serial: held.serial, state: 'live' }
    await using desk = await recorder(genuine, '', { status: 200, body })
    await expect(confirmDevice({ server: desk.url, enrolled: held })).resolves.toBeUndefined()
  })

  test.each([
    [{ renew_after: '2026-01-21T00:00:00.000Z' }, { renewAfter: Date.UTC(2026, 0, 21), reason: undefined }],
    [
      { renew_after: '2026-01-21T00:00:00.000Z', reason: 'issuer_retiring' },
      { renewAfter: Date.UTC(2026, 0, 21), reason: 'issuer_retiring' },
    ],
  ])('advice: %j', async (body, advice) => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    const held = await enrol(server.url)
    await using desk = await recorder(genuine, '', { status: 200, body })
    expect(await adviceFor({ server: desk.url, enrolled: held })).toEqual(advice)
    expect(desk.heard[0]).toMatch(/^GET \/v1\/renewal/)
  })

  test.each([{}, { renew_after: 'soon' }, { renew_after: 1 }])('is no advice: %j', async (body) => {
    await using server = await recorder(genuine, genuine.ca.rootPem)
    const held = await enrol(server.url)
    await using desk = await recorder(genuine, '', { status: 200, body })
    await expect(adviceFor({ server: desk.url, enrolled: held })).rejects.toMatchObject({
      code: 'expectation_broken',
    })
  })
})
