/** What the door itself says: a page for browsers, a problem document for programs, the same status and word in both. And how often it may be asked. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closed } from '../support/closed.ts'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, requestText } from '../support/raw-https.ts'

const BROWSER =
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
const CURL = 'Accept: */*'

describe('pages', () => {
  let door: DoorHarness
  let lamp: TestLeaf
  beforeAll(async () => {
    door = await openDoorHarness({
      env: { SALLYPORT_HTTPS_ORIGIN_TIMEOUT: '200ms' },
      answers: { '/silent': () => {}, '/reset': (request) => request.socket.resetAndDestroy() },
    })
    lamp = await door.device('lamp-1')
  })
  afterAll(() => door[Symbol.asyncDispose]())

  const asBrowser = (target: string, o: Parameters<typeof requestText>[1] = {}): string =>
    requestText(target, { ...o, headers: [BROWSER, ...(o.headers ?? [])] })
  const MARK = 'zzz<b>"of"</b>zzz'

  test.each<[string, string, number, boolean]>([
    ['certificate_required', asBrowser('/'), 403, false],
    ['bad_target', asBrowser(`/a/../${encodeURIComponent(MARK)}`), 400, true],
    ['token_invalid', asBrowser('/', { headers: ['CF-Access-Client-Id: x'] }), 401, true],
    ['method_not_allowed', asBrowser('/', { method: 'TRACE' }), 405, true],
    ['not_found', asBrowser('/cdn-cgi/access/nothing'), 404, true],
    ['host_mismatch', asBrowser('/', { host: 'b.test' }), 421, true],
    ['origin_unreachable', asBrowser('/reset'), 502, true],
    ['origin_timeout', asBrowser('/silent'), 504, true],
  ])('%s', async (reason, text, status, asLamp) => {
    door.log.length = 0
    const reply = await door.say(text, asLamp ? lamp : undefined)
    expect(reply).toMatchObject({
      status,
      headers: {
        'content-type': 'text/html; charset=utf-8',
        'content-length': String(Buffer.byteLength(reply.body, 'latin1')),
        'cache-control': 'no-store',
        connection: 'close',
        'strict-transport-security': 'max-age=31536000',
        'x-content-type-options': 'nosniff',
        'content-security-policy': expect.stringMatching(/^default-src 'none'; style-src 'sha256-/) as string,
      },
    })
    expect(reply.body).toMatch(/^<!doctype html>/)
    expect(reply.body).toContain(`<code>${reason}</code>`)
    const [, requestId] = /<dt>Request<\/dt>\s*<dd><code>([^<]+)<\/code>/.exec(reply.body) ?? []
    expect(door.log).toContainEqual(expect.objectContaining({ reason, request_id: requestId }))
    expect(reply.headers['www-authenticate']).toBe(status === 401 ? 'Cf-Access' : undefined)
    expect(reply.raw).not.toMatch(/zzz|<script/)
    expect(reply.headers).not.toHaveProperty('server')
  })
  test.each([CURL, 'Accept: application/json', 'X: y'])('programs get the document: %s', async (accept) => {
    const reply = await door.say(requestText('/', { headers: [accept] }))
    expect(reply).toMatchObject({ status: 403, headers: { 'content-type': 'application/problem+json' } })
    expect(reply.headers).not.toHaveProperty('content-security-policy')
    expect(JSON.parse(reply.body)).toMatchObject({ reason: 'certificate_required' })
  })
  test('HEAD: the header of the page, and no body', async () => {
    const reply = await door.say(asBrowser('/', { method: 'HEAD' }))
    expect(reply).toMatchObject({
      status: 403,
      body: '',
      headers: { 'content-type': 'text/html; charset=utf-8' },
    })
    expect(Number(reply.headers['content-length'])).toBeGreaterThan(1_000)
  })
  test('below /cdn-cgi/access/ nothing is an application’s', async () => {
    for (const path of [
      '/cdn-cgi/access',
      '/cdn-cgi/access/',
      '/cdn-cgi/access/x/y',
      '/cdn-cgi/access;x/certs/z',
    ])
      expect((await door.say(requestText(path), lamp)).status).toBe(404)
    expect(door.origin.seen.filter(({ target }) => target.includes('cdn-cgi'))).toEqual([])
  })
})

describe('how often', () => {
  test('a certificate: 429 with Retry-After, whoever else is served', async () => {
    await using door = await openDoorHarness({ env: { SALLYPORT_HTTPS_REQUESTS_PER_CERTIFICATE: '3' } })
    const [lamp, other] = [await door.device('lamp-1'), await door.device('lamp-2')]
    const ask = (leaf: TestLeaf, accept = CURL) => door.say(requestText('/', { headers: [accept] }), leaf)
    for (let at = 0; at < 3; at += 1) expect((await ask(lamp)).status).toBe(200)
    const reply = await ask(lamp)
    expect(reply).toMatchObject({
      status: 429,
      headers: { 'retry-after': expect.stringMatching(/^(?:19|20)$/) as string },
    })
    expect(JSON.parse(reply.body)).toMatchObject({ reason: 'rate_limited' })
    expect((await ask(lamp, BROWSER)).body).toContain('<h1>Too many requests</h1>')
    expect((await ask(other)).status).toBe(200)
    door.pass(20_000)
    expect((await ask(lamp)).status).toBe(200)
    // a stranger's certificate is counted before it is judged
    const forged = door.pki.device({ by: door.pki.other.devices, id: 'lamp-1' })
    for (let at = 0; at < 3; at += 1) expect((await ask(forged)).status).toBe(403)
    expect((await ask(forged)).status).toBe(429)
    expect(await door.metrics()).toMatch(
      /sallyport_https_failures_total\{reason="rate_limited",desk="gateway"\} 3/,
    )

    // within a session the connection outlives it
    await door.putHttps({}, { sessionDuration: 60_000 })
    using client = await openRaw({ port: door.port, leaf: await door.device('lamp-3') })
    const statuses: number[] = []
    for (let at = 0; at < 4; at += 1) {
      client.send(requestText('/'))
      statuses.push((await client.reply()).status)
    }
    expect(statuses).toEqual([200, 200, 200, 429])
    door.pass(20_000)
    client.send(requestText('/'))
    expect((await client.reply()).status).toBe(200)
  })
  test('a service token, which has no certificate', async () => {
    await using door = await openDoorHarness({ env: { SALLYPORT_HTTPS_REQUESTS_PER_CERTIFICATE: '2' } })
    await door.putPolicy({ include: [{ any_valid_service_token: {} }] })
    const [one, two] = [await door.serviceToken('one'), await door.serviceToken('two')]
    const statuses: number[] = []
    for (const headers of [one, one, one, two])
      statuses.push((await door.say(requestText('/', { headers }))).status)
    expect(statuses).toEqual([200, 200, 429, 200])
  })
  test('an address: closed before the handshake, and counted', async () => {
    await using door = await openDoorHarness({ env: { SALLYPORT_HTTPS_CONNECTIONS_PER_ADDRESS: '5' } })
    const lamp = await door.device('lamp-1')
    for (let at = 0; at < 5; at += 1) expect((await door.say(requestText('/'), lamp)).status).toBe(200)
    await expect(door.say(requestText('/'), lamp)).rejects.toThrow()
    const socket = connect(door.port, '127.0.0.1').on('error', () => {})
    await once(socket, 'connect')
    await closed(socket)
    expect(await door.metrics()).toMatch(
      /sallyport_connections_refused_total\{door="https",desk="gateway"\} 2/,
    )
    door.pass(12_000)
    expect((await door.say(requestText('/'), lamp)).status).toBe(200)
  })
})
