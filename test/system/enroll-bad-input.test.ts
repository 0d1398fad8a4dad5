/** Every refusal of the enrol desk: the status and reason of the contract, within a second, with nothing lost and nothing changed. */

import { once } from 'node:events'
import { connect as tcpConnect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { toPem } from '#pki/pem.ts'
import { startDesk, type Answer, type Call, type TestDesk } from '../support/enroll-desk.ts'
import { makeCsr } from '../support/pki.ts'

/** A second, as promised, and another for a busy machine. ms */
const PROMPT = 2_000

let desk: TestDesk
let plentiful: string
beforeAll(async () => {
  desk = await startDesk({
    overrides: {
      'enroll.failures_per_minute': '100000',
      'limits.header_timeout': '1s',
      'limits.handshake_timeout': '1s',
    },
  })
  plentiful = (await desk.claim({ uses: 1_000 })).text
})
afterAll(() => desk.stop())

const said = ({ status, json }: Answer) => [status, json?.['reason']]
const good = makeCsr({ commonName: 'good-1' })
const csrPem = (der: Uint8Array) => toPem('CERTIFICATE REQUEST', der)
const id = (text: string) => text as DeviceId

/** What a refusal must not change. */
const state = async () =>
  JSON.stringify([
    (await desk.registry.listDevices({ now: Date.now(), limit: 1_000 })).items.map((device) => device.id),
    (await desk.registry.listTokens({ limit: 1_000 })).items.map(({ id: token, used }) => [token, used]),
  ])

/** Within a second, nothing changed, a problem document. */
const refused = async (path: string, call: Call, status: number, reason: string): Promise<Answer> => {
  const before = await state()
  const started = performance.now()
  const answer = await desk.device(path, call)
  expect(performance.now() - started).toBeLessThan(PROMPT)
  expect(said(answer)).toEqual([status, reason])
  expect(answer.headers['content-type']).toBe('application/problem+json')
  expect(answer.json).toMatchObject({
    type: `urn:sallyport:problem:${reason}`,
    status,
    request_id: answer.headers['x-request-id'],
  })
  expect(await state()).toBe(before)
  return answer
}

const flipped = (der: Uint8Array, at: number): Uint8Array => {
  const bytes = Buffer.from(der)
  const index = at < 0 ? bytes.length + at : at
  bytes[index] = (bytes[index] as number) ^ 1
  return bytes
}
/** the same outermost length, in one octet more than it needs: BER, not DER */
const longLength = (der: Uint8Array): Uint8Array =>
  Buffer.concat(
    [Buffer.of(0x30, 0x83, 0), Buffer.from(der).subarray(2, 4), Buffer.from(der).subarray(4)].map((part) =>
      Buffer.from(part),
    ),
  )
const indefinite = (der: Uint8Array): Uint8Array =>
  Buffer.concat([
    Buffer.of(0x30, 0x80),
    Buffer.from(der).subarray(der[1] === 0x82 ? 4 : der[1] === 0x81 ? 3 : 2),
    Buffer.of(0, 0),
  ])

describe('a CSR', () => {
  it.each([
    ['empty', '', 400, 'bad_csr'],
    ['no PEM', 'hello', 400, 'bad_csr'],
    ['another label', good.pem.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'), 400, 'bad_csr'],
    ['broken base64', good.pem.replace(/\n.{10}/, '\n!!!!!!!!!!'), 400, 'bad_csr'],
    ['two of them', good.pem + good.pem, 400, 'bad_csr'],
    ['cut off', csrPem(good.der.subarray(0, -1)), 400, 'bad_csr'],
    ['something after it', csrPem(Buffer.concat([good.der, Buffer.of(0)])), 400, 'bad_csr'],
    ['indefinite length (BER)', csrPem(indefinite(good.der)), 400, 'bad_csr'],
    [
      'a length that is longer than it must be (BER)',
      csrPem(longLength(makeCsr({ names: ['a'.repeat(200)] }).der)),
      400,
      'bad_csr',
    ],
    ['version 2', makeCsr({ version: 1 }).pem, 400, 'bad_csr'],
    ['a signature with one bit changed', csrPem(flipped(good.der, -1)), 400, 'csr_signature_invalid'],
    [
      "another key's signature",
      makeCsr({ signingKey: makeCsr().privateKey }).pem,
      400,
      'csr_signature_invalid',
    ],
    ['SHA-1', makeCsr({ sha1: true }).pem, 400, 'bad_csr'],
    ['RSA 1024', makeCsr({ kind: 'RSA', bits: 1_024 }).pem, 400, 'weak_key'],
    ['zeros', csrPem(new Uint8Array(1_000)), 400, 'bad_csr'],
    ['deeply nested', csrPem(Buffer.alloc(40_000, Buffer.of(0x30, 0x80))), 400, 'bad_csr'],
    [
      '4,000 names',
      makeCsr({ names: Array.from({ length: 4_000 }, (_, n) => `a${n}.b`) }).pem,
      400,
      'bad_csr',
    ],
    ['over 64 KiB', `${good.pem}${' '.repeat(65_536)}`, 413, 'body_too_large'],
  ])('%s', async (_, csr, status, reason) => {
    await refused('/v1/enroll', { token: plentiful, body: { csr, device_id: 'good-1' } }, status, reason)
  })

  it('is not looked at before the credential is known to be good', async () => {
    const answer = await refused('/v1/enroll', { body: { csr: 'x' } }, 401, 'credential_required')
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer/)
    await refused('/v1/enroll', { token: 'x', rawBody: '{broken' }, 401, 'token_invalid')
    await refused('/v1/renew', { rawBody: '{broken' }, 403, 'certificate_required')
  })
})

describe('a key', () => {
  it('of another device is refused', async () => {
    const { text } = await desk.claim()
    const csr = makeCsr({ commonName: 'first-owner' })
    expect((await desk.device('/v1/enroll', { token: text, body: { csr: csr.pem } })).status).toBe(201)
    await refused(
      '/v1/enroll',
      { token: plentiful, body: { csr: makeCsr({ key: csr, commonName: 'thief' }).pem } },
      409,
      'key_in_use',
    )
  })
})

describe('a token', () => {
  it.each([
    ['no scheme', { headers: { authorization: 'spt1.x' } }, 'credential_required'],
    ['another scheme', { headers: { authorization: 'Basic eDp5' } }, 'credential_required'],
    ['nonsense', { token: 'nonsense' }, 'token_invalid'],
    [
      'one that was never made',
      { token: `spt1.${'a'.repeat(16)}.${'A'.repeat(43)}.${'A'.repeat(43)}` },
      'token_invalid',
    ],
    ['10 KB of it', { token: 'a'.repeat(10_000) }, 'token_invalid'],
  ])('%s', async (_, call, reason) => {
    await refused('/v1/enroll', { ...call, body: { csr: good.pem } }, 401, reason)
  })

  it.each([
    ['expired', { expiresAt: Date.now() - 1 }, 'token_expired'],
    ['revoked', { revokedAt: Date.now() }, 'token_revoked'],
  ])('%s', async (_, options, reason) => {
    const { text } = await desk.claim(options)
    await refused('/v1/enroll', { token: text, body: { csr: good.pem } }, 401, reason)
  })

  it('spent, by another key', async () => {
    const { text } = await desk.claim()
    await desk.device('/v1/enroll', { token: text, body: { csr: makeCsr({ commonName: 'spender' }).pem } })
    await refused('/v1/enroll', { token: text, body: { csr: good.pem } }, 401, 'token_spent')
  })
})

describe('a device id', () => {
  it.each([
    ['none anywhere', undefined, undefined, undefined, 'device_id_invalid'],
    ['too long', undefined, 'x'.repeat(65), undefined, 'device_id_invalid'],
    ['with a slash', undefined, 'a/b', undefined, 'device_id_invalid'],
    ['with a wildcard', undefined, undefined, '+', 'device_id_invalid'],
    ['look-alike', undefined, 'lаmp', undefined, 'device_id_invalid'],
    ['token against body', 'a1', 'a2', undefined, 'device_id_mismatch'],
    ['token against CN', 'a1', undefined, 'a2', 'device_id_mismatch'],
    ['body against CN', undefined, 'a1', 'a2', 'device_id_mismatch'],
  ])('%s', async (_, bound, asked, commonName, reason) => {
    const token = bound === undefined ? plentiful : (await desk.claim({ deviceId: id(bound) })).text
    const body = { csr: makeCsr({ commonName }).pem, ...(asked === undefined ? {} : { device_id: asked }) }
    await refused('/v1/enroll', { token, body }, 400, reason)
  })
})

describe('a body', () => {
  it.each([
    ['not JSON', '{', {}, 400, 'bad_request'],
    ['no object', '"csr"', {}, 400, 'bad_request'],
    ['null', 'null', {}, 400, 'bad_request'],
    ['without a CSR', '{}', {}, 400, 'bad_request'],
    ['a CSR that is no text', '{"csr":5}', {}, 400, 'bad_request'],
    ['something more', `{"csr":"x","admin":true}`, {}, 400, 'bad_request'],
    ['poisoned', '{"csr":"x","__proto__":{"device_id":"a"}}', {}, 400, 'bad_request'],
    ['XML', '<csr/>', { 'content-type': 'application/xml' }, 415, 'unsupported_media_type'],
    [
      'a form',
      'csr=x',
      { 'content-type': 'application/x-www-form-urlencoded' },
      415,
      'unsupported_media_type',
    ],
  ])('%s', async (_, rawBody, headers, status, reason) => {
    await refused('/v1/enroll', { token: plentiful, rawBody, headers }, status, reason)
  })

  it('does not come back in the refusal, and neither does the token', async () => {
    const answer = await refused(
      '/v1/enroll',
      { token: plentiful, body: { csr: 'marker-in-csr', device_id: 'marker/id' } },
      400,
      'bad_csr',
    )
    expect(answer.text).not.toContain('marker')
    expect(desk.logLines.join('')).not.toContain('marker')
    expect(desk.logLines.join('')).not.toContain(plentiful.split('.')[2])
  })
})

describe('a path or a method', () => {
  it.each([
    ['/v1/nothing', 'POST', 404, 'not_found'],
    ['/', 'GET', 404, 'not_found'],
    ['/v1/enroll', 'GET', 405, 'method_not_allowed'],
    ['/v1/enroll', 'DELETE', 405, 'method_not_allowed'],
    ['/v1/trust.pem', 'PUT', 405, 'method_not_allowed'],
    ['/v1/tokens', 'GET', 404, 'not_found'],
    ['/v1/devices', 'GET', 404, 'not_found'],
    ['/metrics', 'GET', 404, 'not_found'],
  ])('%s %s', async (path, method, status, reason) => {
    await refused(path, { method }, status, reason)
  })
})

/** Unlike `once`, also when it ends with an error. */
const closed = (socket: Socket): Promise<unknown> => new Promise((resolve) => socket.once('close', resolve))

/** As bytes, for what no client library will send. @returns all that came back */
const raw = async (
  head: string,
  o: { readonly filler?: Buffer; readonly keepOpen?: boolean } = {},
): Promise<{ readonly text: string; readonly sent: number; readonly ms: number }> => {
  const url = new URL(desk.urls['devices'] ?? '')
  const socket = tlsConnect({ host: url.hostname, port: Number(url.port), ca: desk.home.pki.root.pem })
  await once(socket, 'secureConnect')
  const started = performance.now()
  let text = ''
  let sent = 0
  socket.on('data', (data: Buffer) => (text += data.toString()))
  // the desk closes while we still write: that is what is wanted
  socket.on('error', () => undefined)
  socket.write(head)
  const { filler } = o
  const pump = (): void => {
    while (filler !== undefined && !socket.destroyed && sent < 200_000_000) {
      sent += filler.length
      if (!socket.write(filler)) {
        socket.once('drain', pump)
        return
      }
    }
  }
  pump()
  await closed(socket)
  return { text, sent, ms: performance.now() - started }
}
const reasonOf = (text: string) => /"reason":"(\w+)"/.exec(text)?.[1]
const statusOf = (text: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])

describe('what is too much, too slow or no HTTP', () => {
  const letters = Buffer.alloc(65_536, 'a')
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), letters, Buffer.from('\r\n')])
  const post = (path: string, headers: string) =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${headers}\r\n`

  it.each([
    [
      'announced, without a credential',
      () => post('/v1/enroll', 'content-length: 200000000\r\n'),
      letters,
      401,
      'credential_required',
    ],
    [
      'announced, with one',
      () => post('/v1/enroll', `authorization: Bearer ${plentiful}\r\ncontent-length: 200000000\r\n`),
      letters,
      413,
      'body_too_large',
    ],
    [
      'in chunks, with one',
      () => post('/v1/enroll', `authorization: Bearer ${plentiful}\r\ntransfer-encoding: chunked\r\n`),
      chunk,
      413,
      'body_too_large',
    ],
    ['for no route', () => post('/v1/nothing', 'content-length: 200000000\r\n'), letters, 404, 'not_found'],
    [
      'without a certificate',
      () => post('/v1/renew', 'content-length: 200000000\r\n'),
      letters,
      403,
      'certificate_required',
    ],
  ])('a body of 200 MB %s is answered at once and not taken', async (_, head, filler, status, reason) => {
    const { text, sent, ms } = await raw(head(), { filler })
    expect([statusOf(text), reasonOf(text)]).toEqual([status, reason])
    expect(ms).toBeLessThan(PROMPT)
    // what stands in the sockets' buffers
    expect(sent).toBeLessThan(20_000_000)
  })

  it.each([
    [
      'headers of 20 KB',
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    ['a URL of 20 KB', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 431, 'headers_too_large'],
    ['no HTTP', 'HELLO\r\n\r\n', 400, 'bad_request'],
    ['HTTP/1.1 without Host', 'GET /v1/trust.pem HTTP/1.1\r\nconnection: close\r\n\r\n', 400, 'bad_request'],
    [
      'two lengths',
      'POST /v1/enroll HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc',
      400,
      'bad_request',
    ],
    [
      'a length and chunks',
      'POST /v1/enroll HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'bad_request',
    ],
    [
      'a path that cannot be decoded',
      'GET /%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
      400,
      'bad_request',
    ],
    [
      'an expectation',
      'POST /v1/enroll HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\ncontent-length: 0\r\n\r\n',
      417,
      'expectation_failed',
    ],
    ['CONNECT', 'CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n', 405, 'method_not_allowed'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 404, 'not_found'],
  ])('%s', async (_, head, status, reason) => {
    const { text, ms } = await raw(head)
    expect([statusOf(text), reasonOf(text)]).toEqual([status, reason])
    expect(text).toContain('application/problem+json')
    expect(ms).toBeLessThan(PROMPT)
  })

  it('headers that never end are given up', async () => {
    const { text, ms } = await raw('GET /v1/trust.pem HTTP/1.1\r\nhost: x\r\n')
    expect([statusOf(text), reasonOf(text)]).toEqual([408, 'request_timeout'])
    expect(ms).toBeLessThan(5_000)
  })

  it('a connection that says nothing at all is given up', async () => {
    const { text, ms } = await raw('')
    expect([statusOf(text), reasonOf(text)]).toEqual([408, 'request_timeout'])
    expect(ms).toBeLessThan(5_000)
  })

  it('a handshake that never comes is given up', async () => {
    const url = new URL(desk.urls['devices'] ?? '')
    const socket = tcpConnect(Number(url.port), url.hostname)
    socket.on('error', () => undefined)
    await closed(socket)
    expect(socket.bytesRead).toBe(0)
  })

  it('and after all that it still serves', async () => {
    expect((await desk.device('/v1/trust.pem')).status).toBe(200)
  })
})

describe('an address that keeps failing', () => {
  it('waits, and a good token beside it does not; setting the clock changes nothing', async () => {
    let now = Date.now()
    await using strict = await startDesk({
      clock: () => now,
      overrides: { 'enroll.failures_per_minute': '3' },
    })
    const { text } = await strict.claim()
    const ask = (token: string) => strict.device('/v1/enroll', { token, body: { csr: good.pem } })
    for (let n = 0; n < 3; n += 1) expect(said(await ask('wrong'))).toEqual([401, 'token_invalid'])
    const held = await ask('wrong')
    expect(said(held)).toEqual([429, 'rate_limited'])
    expect(Number(held.headers['retry-after'])).toBeLessThanOrEqual(20)
    expect((await ask(text)).status).toBe(201)
    for (const moved of [20_000, -60_000]) {
      now += moved
      expect(said(await ask('wrong'))).toEqual([429, 'rate_limited'])
    }
  })
})
