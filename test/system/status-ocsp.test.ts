/** OCSP over HTTP, by strangers: statuses, headers, and everything that is not a request. What it says: test/unit/enroll/ocsp-responder.test.ts. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { call } from '../support/enroll-desk.ts'
import { ocspRequest } from '../support/ocsp-request.ts'
import { readOcspResponse } from '../support/ocsp-response.ts'
import { openStatusDesk, type StatusDesk, type StatusDevice } from '../support/status-desk.ts'

let desk: StatusDesk
let device: StatusDevice
let request: Buffer
beforeAll(async () => {
  desk = await openStatusDesk()
  device = await desk.device()
  request = ocspRequest({ issuer: desk.issuer.certificate, serials: [device.serial] })
})
afterAll(() => desk[Symbol.asyncDispose]())

const OCSP = { 'content-type': 'application/ocsp-request' }
const post = (rawBody: Uint8Array, headers: Record<string, string> = OCSP) =>
  call(`${desk.url}/ocsp`, { method: 'POST', rawBody, headers })
const get = async (path: string, headers: Record<string, string> = {}) => {
  const reply = await fetch(desk.url + path, { headers })
  return { reply, body: Buffer.from(await reply.arrayBuffer()) }
}
const pathOf = (der: Buffer) => `/ocsp/${encodeURIComponent(der.toString('base64'))}`

describe('GET', () => {
  test('is cacheable as RFC 5019 §6 says', async () => {
    const { reply, body } = await get(pathOf(request))
    expect(reply.status).toBe(200)
    const now = desk.clock()
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      'content-type': 'application/ocsp-response',
      'content-length': String(body.length),
      'cache-control': `max-age=${MINUTE / SECOND}, public, no-transform, must-revalidate`,
      'last-modified': new Date(now - 5 * MINUTE).toUTCString(),
      expires: new Date(now + HOUR).toUTCString(),
      etag: expect.stringMatching(/^"[0-9a-f]{40}"$/) as string,
    })
    expect(readOcspResponse(body).serials).toEqual({ [device.serial]: 'good' })
    const again = await get(pathOf(request), { 'if-none-match': reply.headers.get('etag') ?? '' })
    expect([again.reply.status, again.body.length]).toEqual([304, 0])
    await desk.set(device.id, 'suspended', 'certificateHold')
    const held = await get(pathOf(request), { 'if-none-match': reply.headers.get('etag') ?? '' })
    expect(held.reply.status).toBe(200)
    expect(readOcspResponse(held.body).serials).toEqual({ [device.serial]: 'revoked 6' })
    await desk.set(device.id, 'active')
  })

  test('takes base64 as it is written, slashes and all', async () => {
    // one whose base64 has both characters that a URL treats apart
    let der = request
    for (let n = 0; !/\/.*\+|\+.*\//.test(der.toString('base64')); n += 1)
      der = ocspRequest({
        issuer: desk.issuer.certificate,
        serials: [device.serial],
        nonce: Buffer.alloc(12, n),
      })
    for (const path of [`/ocsp/${der.toString('base64')}`, pathOf(der), `${pathOf(der)}?x=1`])
      expect(readOcspResponse((await get(path)).body).serials).toEqual({ [device.serial]: 'good' })
  })

  test('with a nonce is kept by nobody, like a refusal', async () => {
    const nonced = ocspRequest({
      issuer: desk.issuer.certificate,
      serials: [device.serial],
      nonce: Buffer.alloc(16, 1),
    })
    const foreign = ocspRequest({ issuer: desk.pki.other.devices.facts, serials: [device.serial] })
    for (const der of [nonced, foreign]) {
      const { reply } = await get(pathOf(der))
      expect(reply.status).toBe(200)
      expect(reply.headers.get('cache-control')).toBe('no-store')
      expect(reply.headers.get('etag')).toBeNull()
    }
  })

  const malformed = 'malformedRequest'
  test.each([
    ['/ocsp/', malformed],
    ['/ocsp/%', 400],
    ['/ocsp/%ff%fe', 400],
    ['/ocsp/%00', malformed],
    ['/ocsp/AAAA', malformed],
    ['/ocsp/..%2fcrl', malformed],
    ['/ocsp/MAA', malformed],
    ['/ocsp/MAA=', malformed],
    ['/ocsp/MA==', malformed],
    [`/ocsp/${'A'.repeat(12_000)}`, malformed],
    [`/ocsp/${'A'.repeat(20_000)}`, 431],
    ['/ocsp', 405],
    ['/ocspx', 404],
    ['/OCSP/MAA=', 404],
    ['/ocsp/../ocsp/MAA=', malformed],
    ['//ocsp/MAA=', 404],
  ] as const)('%s → %s', async (path, expected) => {
    const started = performance.now()
    const { reply, body } = await get(path)
    if (expected === malformed) {
      expect(reply.status).toBe(200)
      expect(body.toString('hex')).toBe('30030a0101')
    } else {
      expect(reply.status).toBe(expected)
      expect(reply.headers.get('content-type')).toContain('application/problem+json')
    }
    expect(performance.now() - started).toBeLessThan(5 * SECOND)
  })
})

describe('POST', () => {
  test('answers, and nothing of it is to be kept', async () => {
    const reply = await post(request)
    expect(reply.status).toBe(200)
    expect(reply.headers).toMatchObject({
      'content-type': 'application/ocsp-response',
      'cache-control': 'no-store',
    })
  })

  test.each([
    ['nothing', Buffer.alloc(0), 200],
    ['text', Buffer.from('GET / HTTP/1.1'), 200],
    ['a truncated one', Buffer.from('3041303f', 'hex'), 200],
    ['8 KiB of nested sequences', Buffer.alloc(8_192, Buffer.from('3080', 'hex')), 200],
    ['more than 8 KiB', Buffer.alloc(8_193, 0x30), 413],
    ['a megabyte', Buffer.alloc(1_000_000, 0x30), 413],
  ])('%s', async (_, body, status) => {
    const started = performance.now()
    const reply = await post(body)
    expect(reply.status).toBe(status)
    if (status === 200) expect(Buffer.from(reply.text).toString('hex')).toBe('30030a0101')
    expect(performance.now() - started).toBeLessThan(5 * SECOND)
  })

  test('10,000 certificates in one request', async () => {
    const many = ocspRequest({
      issuer: desk.issuer.certificate,
      serials: Array.from({ length: 10_000 }, () => device.serial),
    })
    expect((await post(many)).status).toBe(413)
  })

  test.each([
    'application/json',
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/ocsp-response',
  ])('as %s: 415', async (type) => {
    const reply = await post(request, { 'content-type': type })
    expect(reply.status).toBe(415)
    expect(reply.json?.['detail']).toContain('application/ocsp-request')
  })

  test('to other paths is not taken', async () => {
    for (const [path, status] of [
      [`${pathOf(request)}`, 405],
      ['/ocsp/', 405],
      ['/crl', 404],
    ] as const) {
      const reply = await call(desk.url + path, { method: 'POST', rawBody: request, headers: OCSP })
      expect(reply.status).toBe(status)
    }
  })
})

test('many requests in one connection, one after the other, are each answered', async () => {
  const { hostname, port } = new URL(desk.url)
  const socket = connect(Number(port), hostname)
  const one = `GET ${pathOf(request)} HTTP/1.1\r\nHost: a\r\n\r\n`
  socket.write(one.repeat(50) + one.replace('Host: a', 'Host: a\r\nConnection: close'))
  let text = ''
  socket.setEncoding('latin1').on('data', (data: string) => (text += data))
  await once(socket, 'close')
  expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(51)
})
