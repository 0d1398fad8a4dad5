/** The pipe to enroll: what comes back, and what a device is told when nothing does. */

import { createServer } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRelay } from '#gateway/mqtt/relay.ts'
import { createLog } from '#runtime/log.ts'
import { readPeer } from '#runtime/peer.ts'
import type { TLSSocket } from 'node:tls'
import type { RelayRequest } from '#wire/relay.ts'
import { makePki } from '../../../support/pki.ts'

const pki = makePki({ now: Date.now() })
const served = pki.server()
const own = pki.gateway('gw-1')
const next = pki.gateway('gw-2')

let answer: (request: IncomingMessage, response: ServerResponse) => void = () => {}
const bodies: string[] = []
const clients: (string | undefined)[] = []
const server = createServer(
  { cert: served.fullPem, key: served.keyPem, requestCert: true, rejectUnauthorized: false },
  (request, response) => {
    clients.push(readPeer(request.socket as TLSSocket).leaf?.commonName)
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      bodies.push(Buffer.concat(chunks).toString())
      answer(request, response)
    })
  },
)
let port = 0
const lines: string[] = []
const log = createLog('gateway', 'debug', { write: (line) => void lines.push(line) })
const listeners: (() => void)[] = []
let identity = { cert: own.fullPem, key: own.keyPem }
let relay: ReturnType<typeof createRelay>
const relayTo = (url: string, ca = pki.root.pem) =>
  createRelay({
    url,
    ca,
    log,
    timeout: 300,
    identity: { current: () => identity, onChange: (listener) => void listeners.push(listener) },
  })

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
  relay = relayTo(`https://localhost:${port}`)
})
afterAll(async () => {
  await relay[Symbol.asyncDispose]()
  server.closeAllConnections()
  server.close()
})

const request: RelayRequest = { kind: 'nonce', certificate: 'x', address: '::1' }
const reply =
  (
    status: number,
    body: object | string,
    headers: Record<string, string> = { 'sallyport-gateway': 'gw-1' },
  ) =>
  (_: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
const said = async (by = relay) => {
  const { accepted, body, reason } = await by.ask(request)
  return { accepted, reason, body: JSON.parse(body.toString()) as Record<string, unknown> }
}
const NOT_NOW = {
  accepted: false,
  reason: 'target_unreachable',
  body: expect.objectContaining({ reason: 'target_unreachable', status: 503, retry_after: 5 }) as object,
}

describe('what enroll says', () => {
  test.each([200, 201, 202])('%d is an answer, as it stands', async (status) => {
    answer = reply(status, { some: 'thing' })
    expect(await said()).toEqual({ accepted: true, reason: undefined, body: { some: 'thing' } })
    expect(JSON.parse(bodies.at(-1) ?? '')).toEqual(request)
    expect(clients.at(-1)).toBe('gw-1')
  })

  test('a problem is one, and says when to ask again', async () => {
    answer = reply(
      429,
      { reason: 'rate_limited', status: 429 },
      { 'sallyport-gateway': 'gw-1', 'retry-after': '7' },
    )
    expect(await said()).toEqual({
      accepted: false,
      reason: 'rate_limited',
      body: { reason: 'rate_limited', status: 429, retry_after: 7 },
    })
    answer = reply(403, { reason: 'certificate_revoked' })
    expect(await said()).toMatchObject({
      reason: 'certificate_revoked',
      body: { reason: 'certificate_revoked' },
    })
  })

  test.each<[string, typeof answer]>([
    ['is about the gateway', reply(403, { reason: 'certificate_untrusted' }, {})],
    ['is no JSON', reply(403, 'no')],
    ['is too much', reply(200, 'x'.repeat(300_000))],
    ['is nothing', (each) => each.socket.destroy()],
    ['never comes', () => {}],
    [
      'does not end',
      (_, response) => void response.writeHead(200, { 'sallyport-gateway': 'gw-1' }).write('{'),
    ],
  ])('what %s is none of the device’s business', async (_, how) => {
    answer = how
    expect(await said()).toEqual(NOT_NOW)
  })

  test('a connection that enroll has closed meanwhile is made again', async () => {
    let calls = 0
    answer = (each, response) => {
      calls += 1
      if (calls === 1) each.socket.destroy()
      else reply(200, { calls })(each, response)
    }
    expect(await said()).toMatchObject({ accepted: true, body: { calls: 2 } })
  })
})

test('nobody is there; or somebody else is', async () => {
  await using nobody = relayTo('https://localhost:1')
  expect(await said(nobody)).toEqual(NOT_NOW)
  answer = reply(200, {})
  await using other = relayTo(`https://localhost:${port}`, pki.other.root.pem)
  const before = bodies.length
  expect(await said(other)).toEqual(NOT_NOW)
  await using unnamed = relayTo(`https://[::ffff:127.0.0.1]:${port}`)
  expect(await said(unnamed)).toEqual(NOT_NOW)
  expect(bodies.length).toBe(before)
})

test('a new certificate is used from the next connection on', async () => {
  answer = reply(200, {})
  await said()
  identity = { cert: next.fullPem, key: next.keyPem }
  listeners[0]?.()
  await said()
  expect(clients.slice(-2)).toEqual(['gw-1', 'gw-2'])
})

test('so many at once, and the others wait outside', async () => {
  const waiting: ServerResponse[] = []
  answer = (_, response) => void waiting.push(response)
  const all = Array.from({ length: 66 }, () => said())
  const refused = await Promise.race(all)
  expect(refused).toMatchObject({ accepted: false, reason: 'rate_limited', body: { retry_after: 2 } })
  await expect.poll(() => waiting.length).toBe(8)
  answer = reply(200, {})
  for (const response of waiting) reply(200, {})({} as IncomingMessage, response)
  const reasons = (await Promise.all(all)).map(({ reason }) => reason ?? 'accepted')
  expect(reasons.filter((each) => each === 'rate_limited')).toHaveLength(2)
  expect(reasons.filter((each) => each === 'accepted')).toHaveLength(64)
  expect(lines.join('')).not.toContain('PRIVATE KEY')
})
