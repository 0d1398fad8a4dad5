/** The status listener over plain HTTP: what stands in our certificates can be fetched, and nothing else can. */

import 'reflect-metadata'
import { X509Crl } from '@peculiar/x509'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { X509Certificate } from 'node:crypto'
import { HOUR } from '#fleet/clock.ts'
import { toPem } from '#pki/pem.ts'
import { readRoot, signRootCrl } from '#pki/root-crl.ts'
import { startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { ocspRequest } from '../support/ocsp-request.ts'
import { readOcspResponse } from '../support/ocsp-response.ts'
import { makeCa, makeCsr, randomSerial } from '../support/pki.ts'

let desk: TestDesk
beforeAll(async () => {
  desk = await startDesk({ overrides: { 'enroll.crl_ttl': '1h' } })
})
afterAll(() => desk.stop())

const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${desk.urls['status']}${path}`, { headers, method })
const crlPath = () => `/crl/${desk.home.pki.devices.ski}.crl`
const crl = async () => new X509Crl(await (await get(crlPath())).arrayBuffer())

describe('/crl/<ski>.crl', () => {
  test('is the CRL, by its media type', async () => {
    const reply = await get(crlPath())
    expect(reply.status).toBe(200)
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      'content-type': 'application/pkix-crl',
      'cache-control': 'no-cache',
      etag: expect.stringMatching(/^"\d+"$/) as string,
    })
    const list = new X509Crl(await reply.arrayBuffer())
    expect(list.issuer).toBe('CN=Test Devices')
    expect((list.nextUpdate?.getTime() ?? 0) - Date.now()).toBeGreaterThan(HOUR / 2)
  })

  test('who has it already is told so', async () => {
    const etag = (await get(crlPath())).headers.get('etag') ?? ''
    expect((await get(crlPath(), { 'if-none-match': etag })).status).toBe(304)
    expect((await get(crlPath(), { 'if-none-match': '"1"' })).status).toBe(200)
  })

  test('a revocation is on it within a second', async () => {
    const { text } = await desk.claim()
    const { json } = await desk.device('/v1/enroll', {
      token: text,
      body: { csr: makeCsr({ commonName: 'lost' }).pem },
    })
    const revoked = await desk.operator('/v1/devices/lost/revoke', { body: { reason: 'keyCompromise' } })
    expect(revoked.status).toBe(200)
    await vi.waitFor(
      async () => {
        const found = (await crl()).findRevoked(json?.['serial'] as string)
        expect(found?.reason).toBe(1)
      },
      { timeout: 1_000, interval: 50 },
    )
  })
})

describe('/ocsp', () => {
  test('says what an operator did, in the very next answer, and never good of what it does not know', async () => {
    const { text } = await desk.claim()
    const { json } = await desk.device('/v1/enroll', {
      token: text,
      body: { csr: makeCsr({ commonName: 'asked' }).pem },
    })
    const serial = json?.['serial'] as string
    const unknown = randomSerial()
    const said = async () => {
      const body = ocspRequest({ issuer: desk.home.pki.devices.facts, serials: [serial, unknown] })
      const headers = { 'content-type': 'application/ocsp-request' }
      const reply = await fetch(`${desk.urls['status']}/ocsp`, {
        method: 'POST',
        headers,
        body: new Uint8Array(body),
      })
      const { serials, signed, responder } = readOcspResponse(Buffer.from(await reply.arrayBuffer()))
      expect(signed).toBe(true)
      expect(responder?.verify(new X509Certificate(desk.home.pki.devices.pem).publicKey)).toBe(true)
      expect(serials[unknown]).toBe('unknown')
      return serials[serial]
    }
    expect(await said()).toBe('good')
    await desk.operator('/v1/devices/asked/suspend', { method: 'POST' })
    expect(await said()).toBe('revoked 6')
    await desk.operator('/v1/devices/asked/resume', { method: 'POST' })
    expect(await said()).toBe('good')
    const revoked = await desk.operator(`/v1/certificates/${serial}/revoke`, {
      body: { reason: 'keyCompromise' },
    })
    expect(revoked.status).toBe(200)
    expect(await said()).toBe('revoked 1')
  })
})

test("the root's CRL is served once it was imported, and no other's", async () => {
  const { root, other } = desk.home.pki
  const path = `/crl/${root.ski}.crl`
  expect((await get(path)).status).toBe(404)
  const make = (ca: typeof root) =>
    signRootCrl({ root: readRoot(ca.pem), keyPem: ca.keyPem, revoke: [], now: Date.now(), ttl: HOUR })
  const [good, foreign] = [await make(root), await make(other.root)]
  const send = (der: Uint8Array) => desk.operator('/v1/crls', { body: { crl: toPem('X509 CRL', der) } })
  expect((await send(foreign.der)).status).toBe(400)
  expect((await send(good.der)).status).toBe(200)
  expect(Buffer.from(await (await get(path)).arrayBuffer())).toEqual(Buffer.from(good.der))
  const listed = (await desk.operator('/v1/crls')).json?.['items'] as { issuer: string; source: string }[]
  expect(listed.map(({ issuer, source }) => `${source} ${issuer}`).toSorted()).toEqual([
    `imported ${root.ski}`,
    `made ${desk.home.pki.devices.ski}`,
  ])
})

describe('/issuer/<ski>.cer', () => {
  test('is the intermediate, DER', async () => {
    const { pki } = desk.home
    const reply = await get(`/issuer/${pki.devices.ski}.cer`)
    expect(reply.headers.get('content-type')).toBe('application/pkix-cert')
    expect(new X509Certificate(Buffer.from(await reply.arrayBuffer())).raw).toEqual(
      Buffer.from(pki.devices.der),
    )
  })

  test('one that is known to the registry, too', async () => {
    const old = makeCa({ name: 'Old Devices', now: Date.now(), by: desk.home.pki.root })
    await desk.registry.registerIssuer(
      { ski: old.ski, der: old.der, spkiSha256: old.facts.spkiSha256 },
      Date.now(),
    )
    const reply = await get(`/issuer/${old.ski}.cer`)
    expect(Buffer.from(await reply.arrayBuffer())).toEqual(Buffer.from(old.der))
    expect((await get(`/crl/${old.ski}.crl`)).status).toBe(404)
  })
})

test.each([
  ['GET', '/', 404],
  ['GET', '/crl/', 404],
  ['GET', '/crl/aa.crl', 404],
  ['GET', '/crl/SKI', 404],
  ['GET', '/crl/SKI.cer', 404],
  ['GET', '/crl/SKI.crl/x', 404],
  ['GET', '/crl/..%2fSKI.crl', 404],
  ['GET', '/issuer/SKI.crl', 404],
  ['GET', '/issuer/aa.cer', 404],
  ['GET', '/issuer/%00.cer', 404],
  ['GET', '/v1/enroll', 404],
  ['GET', '/v1/devices', 404],
  ['GET', '/.well-known/est/cacerts', 404],
  ['GET', '/metrics', 404],
  ['POST', '/crl/SKI.crl', 405],
])('%s %s → %i', async (method, path, status) => {
  const reply = await get(path.replace('SKI', desk.home.pki.devices.ski), {}, method)
  expect(reply.status).toBe(status)
  expect(reply.headers.get('content-type')).toContain('application/problem+json')
})
