/** Service tokens, signing keys and CRLs of anchors at a whole enrol desk, in this process, with real sockets and restarts. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { AnchorCrls, ServiceTokenSecret, SigningKey } from '#wire/access-credentials.ts'
import { homeConfig, makeHome, startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { makeCrl, type CrlOptions } from '../support/crls.ts'
import { makeCa } from '../support/pki.ts'
import { temporaryFolder } from '../support/temporary.ts'

let now = Date.now()
let desk: TestDesk
const folder = temporaryFolder()
beforeAll(async () => {
  desk = await startDesk({ clock: () => now, home: await makeHome(folder.path, { now }) })
})
afterAll(async () => {
  await desk.stop()
  folder[Symbol.dispose]()
})

/** The same home, another process as far as anybody can tell. */
const restart = async (overrides: Record<string, string> = {}): Promise<void> => {
  const { home } = desk
  await desk.stop()
  desk = await startDesk({
    clock: () => now,
    home: { ...home, config: homeConfig(home.path, overrides) },
  })
}

describe('service tokens', () => {
  it('are made, rotated with a grace and revoked; no secret is at rest, and none in the log', async () => {
    const made = await desk.operator('/v1/service-tokens', {
      body: { name: 'nightly-report', duration: '30d' },
    })
    const token = made.json as ServiceTokenSecret
    expect(made.status).toBe(201)
    const rotated = await desk.operator(`/v1/service-tokens/${token.id}/rotate`, { body: { grace: '1h' } })
    const secrets = [token.client_secret, (rotated.json as ServiceTokenSecret).client_secret]
    expect(new Set(secrets).size).toBe(2)

    await restart()
    const path = `/v1/service-tokens/${token.id}`
    expect((await desk.operator(path)).json).toMatchObject({ state: 'usable', client_id: token.client_id })
    expect((await desk.operator(`${path}/revoke`, { method: 'POST' })).json).toMatchObject({
      state: 'revoked',
    })
    expect((await desk.operator(`${path}/rotate`, { method: 'POST' })).json?.['reason']).toBe('conflict')

    const atRest = [desk.home.registryPath, `${desk.home.registryPath}-wal`].map((file) => readFileSync(file))
    for (const secret of secrets) {
      expect(atRest.some((octets) => octets.includes(secret))).toBe(false)
      expect(desk.logLines.join('')).not.toContain(secret)
    }
  })
})

describe('signing keys', () => {
  const keys = async () => ((await desk.operator('/v1/signing-keys')).json?.['items'] ?? []) as SigningKey[]

  it('stay through restarts, follow the configuration, rotate by age and by hand, and retire', async () => {
    const [first, ...others] = await keys()
    expect([first?.algorithm, others]).toEqual(['ES256', []])
    now += HOUR

    const settings = { 'enroll.assertion_algorithm': 'EdDSA', 'enroll.assertion_key_life': '2d' }
    await restart(settings)
    await restart(settings)
    const both = await keys()
    expect(both.map(({ algorithm, signs }) => [algorithm, signs])).toEqual([
      ['ES256', false],
      ['EdDSA', true],
    ])
    expect(both[0]?.retires_at).toBe(new Date(now + 7 * DAY).toISOString())

    now += 7 * DAY
    await restart(settings)
    expect(await keys()).toMatchObject([{ kid: both[1]?.kid, signs: false }, { signs: true }])
    await desk.operator('/v1/signing-keys/rotate', { method: 'POST' })
    expect((await keys()).map(({ signs }) => signs)).toEqual([false, false, true])
    const rows = await desk.registry.assertionKeys()
    expect(rows.every(({ certificate }) => certificate.startsWith('-----BEGIN CERTIFICATE-----'))).toBe(true)
  })
})

describe('CRLs of an anchor', () => {
  const ca = makeCa({ name: 'Partner', now: now - DAY })
  const crl = (o: Partial<CrlOptions> = {}) => makeCrl({ by: ca, now, nextUpdate: now + DAY, ...o })
  const server = createServer((request, response) => {
    asked.push(request.headers['if-none-match'])
    if (request.headers['if-none-match'] === published.etag) response.writeHead(304).end()
    else response.setHeader('etag', published.etag).end(published.octets)
  })
  const asked: (string | undefined)[] = []
  let published = { etag: '', octets: Buffer.of() as Uint8Array }
  let url = ''
  beforeAll(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/partner.crl`
  })
  afterAll(() => {
    server.close()
    server.closeAllConnections()
  })

  const put = (crlOf: object | undefined) =>
    desk.operator('/v1/anchors/partner', {
      method: 'PUT',
      body: { pem: ca.pem, hostnames: ['partner.test'], ...(crlOf === undefined ? {} : { crl: crlOf }) },
    })
  const state = async () => (await desk.operator('/v1/anchors/partner/crl')).json as AnchorCrls
  const upload = (body: Uint8Array, type = 'application/pkix-crl') =>
    desk.operator('/v1/anchors/partner/crl', {
      method: 'PUT',
      rawBody: body,
      headers: { 'content-type': type },
    })

  it('are fetched soon after the anchor names their URL, and on the next start', async () => {
    published = { etag: '"1"', octets: crl({ revoked: ['01'], number: 1 }).der }
    await put({ urls: [url] })
    await expect.poll(async () => (await state()).authorities[0]?.state, { timeout: 5_000 }).toBe('current')
    expect(await state()).toMatchObject({
      anchor: 'partner',
      on_stale: 'fail_closed',
      authorities: [{ common_name: 'Partner', number: '1', entries: 1, source: url }],
      sources: [{ url, problem: null, failing_since: null }],
    })
    now += HOUR
    published = { etag: '"2"', octets: crl({ revoked: ['01', '02'], number: 2 }).der }
    await restart()
    await expect.poll(async () => (await state()).authorities[0]?.number, { timeout: 5_000 }).toBe('2')
    expect(asked).toEqual([undefined, undefined])
    const records = await desk.registry.anchorCrls()
    expect(records.map(({ anchor, entries }) => [anchor, entries])).toEqual([['partner', 2]])
  })

  it('are uploaded, as DER and as PEM; what is wrong with one is said', async () => {
    await put({})
    const newest = crl({ number: 3, thisUpdate: now })
    expect(await upload(newest.der)).toMatchObject({
      status: 200,
      json: { authorities: [{ number: '3', source: 'upload' }], sources: [] },
    })
    expect(await upload(Buffer.from(newest.pem))).toMatchObject({ status: 200 })
    const refusals = [
      await upload(crl({ number: 9, thisUpdate: now - DAY }).der),
      await upload(crl({ by: makeCa({ name: 'Partner', now }) }).der),
      await upload(Buffer.from('<html>')),
      await upload(Buffer.from('{"pem": ""}'), 'application/json'),
      await desk.operator('/v1/anchors/partner/crl', {
        method: 'PUT',
        body: { crl: newest.pem },
        headers: { 'if-match': '"other"' },
      }),
    ]
    expect(refusals.map(({ status, json }) => [status, json?.['reason']])).toEqual([
      [409, 'conflict'],
      [400, 'bad_request'],
      [400, 'bad_request'],
      [400, 'bad_request'],
      [412, 'precondition_failed'],
    ])
    expect(refusals[1]?.json?.['detail']).toMatch(/another key of that name/)
    expect((await state()).authorities[0]?.number).toBe('3')
  })

  it('may be larger than other bodies, and not without end', async () => {
    const revoked = Array.from({ length: 60_000 }, (_, at) => (0x40_00_00_00 + at).toString(16))
    const large = crl({ revoked, number: 4, thisUpdate: now })
    expect(large.der.length).toBeGreaterThan(1_048_576)
    expect(await upload(Buffer.from(large.pem))).toMatchObject({
      status: 200,
      json: { authorities: [{ entries: 60_000 }] },
    })
    const endless = Buffer.alloc(24 * 1_048_576, 0x30)
    const answer = await upload(endless).catch((error: NodeJS.ErrnoException) => error.code)
    // it is not read on: the answer, or the end of the connection
    if (typeof answer === 'object') expect(answer).toMatchObject({ status: 413 })
    else expect(answer).toMatch(/EPIPE|ECONNRESET/)
  })

  it('an anchor that does not ask for any takes none', async () => {
    await put(undefined)
    expect((await upload(crl().der)).status).toBe(409)
    expect(await state()).toMatchObject({ on_stale: null, sources: [] })
  })
})
