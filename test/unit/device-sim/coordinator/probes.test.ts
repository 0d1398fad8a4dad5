/** The probes can fail: a server that keeps none of the promises is found out, and one that is down is no finding. */

import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createMeter } from '#device-sim/client/meter.ts'
import type { Enrolled } from '#device-sim/client/identity.ts'
import { createProbes } from '#device-sim/coordinator/probes.ts'
import { makePki } from '../../../support/pki.ts'

const pki = makePki({ now: Date.now() })
const leaf = pki.device({ id: 'probe' })
const device: Enrolled = {
  deviceId: 'probe',
  keyPem: leaf.keyPem,
  certificatePem: leaf.certPem,
  chainPem: leaf.chainPem,
  rootPem: pki.root.pem,
  notAfter: 0,
  renewAfter: 0,
  serial: '',
}

/** Node's defaults: whoever comes is answered, as often as he asks, and TLS sessions are resumed. */
let server: ReturnType<typeof createServer>
let url: string
beforeAll(async () => {
  const { fullPem: cert, keyPem: key } = pki.server()
  server = createServer({ cert, key }, (_, response) => response.end('ok'))
  // the probe waits for the end of a connection; Node keeps it a second longer than it says
  server.keepAliveTimeout = 1
  server.keepAliveTimeoutBuffer = 0
  await once(server.listen(0, 'localhost'), 'listening')
  url = `https://localhost:${(server.address() as AddressInfo).port}`
})
afterAll(() => server.close())

const probes = (https: string, own: Enrolled | undefined, signal = AbortSignal.timeout(10_000)) =>
  createProbes({
    targets: { https },
    rootPem: pki.root.pem,
    device: own,
    path: '/probe',
    meter: createMeter(),
    signal,
    stopping: new AbortController().signal,
  })

const checks = (of: ReturnType<typeof probes>) =>
  of.findings().map(({ name, checked, broken }) => [name, checked, broken])

test('a careless server is found out, with the evidence', async () => {
  const found = probes(url, device)
  await found.once()
  await found.once()
  expect(checks(found).toSorted(([a], [b]) => String(a).localeCompare(String(b)))).toEqual([
    ['certificate_required', 8, 8],
    ['full_handshakes', 4, 4],
    ['one_request_per_connection', 4, 4],
  ])
  const evidence = new Set(found.findings().flatMap((each) => each.evidence))
  expect([...evidence].toSorted()).toEqual([
    ...['GET', 'POST'].flatMap((method) =>
      ['TLSv1.2', 'TLSv1.3'].map(
        (version) => `${method} ${url}/probe without a certificate answered 200 (${version})`,
      ),
    ),
    `${url} resumed a session that was offered again (TLSv1.2)`,
    `${url} resumed a session that was offered again (TLSv1.3)`,
    'two requests on one connection were answered: 200, 200 (TLSv1.2)',
    'two requests on one connection were answered: 200, 200 (TLSv1.3)',
  ])
})

test('without a device only what needs no certificate is tried', async () => {
  const found = probes(url, undefined)
  await found.once()
  expect(
    found
      .findings()
      .map(({ name }) => name)
      .toSorted(),
  ).toEqual(['certificate_required', 'full_handshakes'])
})

test('a door that is down lets nobody in, and is no finding', async () => {
  const found = probes('https://localhost:1', device)
  await found.once()
  expect(found.findings()).toEqual([])
})

test('the first round is finished though the run is over; no other is begun', async () => {
  const meter = createMeter()
  const found = createProbes({
    targets: { https: url },
    rootPem: pki.root.pem,
    device,
    path: '/probe',
    meter,
    signal: AbortSignal.timeout(10_000),
    stopping: AbortSignal.abort(),
  })
  await found.run()
  expect(checks(found).toSorted(([a], [b]) => String(a).localeCompare(String(b)))).toEqual([
    ['certificate_required', 4, 4],
    ['full_handshakes', 2, 2],
    ['one_request_per_connection', 2, 2],
  ])
  // it is said once
  expect(meter.figures().resumed).toBe(0)
})

test('what was given up proves nothing', async () => {
  const found = probes(url, device, AbortSignal.abort())
  await found.run()
  expect(found.findings()).toEqual([])
})

/** Everything in one application's own words, behind a door or without one. */
test.each([
  [200, {}, 4],
  [302, {}, 4],
  [404, {}, 4],
  [502, { reason: 'origin_unreachable' }, 4],
  [404, { reason: 'not_found' }, 0],
  [403, { reason: 'certificate_required' }, 0],
  [403, {}, 0],
  [503, {}, 0],
])('without a certificate %i %o: it is let in %i times of 4', async (status, body, broken) => {
  const { fullPem: cert, keyPem: key } = pki.server()
  const door = createServer({ cert, key }, (_, response) => {
    response.writeHead(status, { 'content-type': 'application/problem+json', connection: 'close' })
    response.end(JSON.stringify(body))
  })
  await once(door.listen(0, 'localhost'), 'listening')
  const found = probes(`https://localhost:${(door.address() as AddressInfo).port}`, undefined)
  await found.once()
  expect(checks(found)).toContainEqual(['certificate_required', 4, broken])
  door.close()
})

test('interim answers are no second answer', async () => {
  const { fullPem: cert, keyPem: key } = pki.server()
  const door = createServer({ cert, key }, (_, response) => {
    response.writeEarlyHints({ link: '</a>; rel=preload' })
    response.writeContinue()
    response.writeHead(200, { connection: 'close' }).end('ok')
  })
  await once(door.listen(0, 'localhost'), 'listening')
  const found = probes(`https://localhost:${(door.address() as AddressInfo).port}`, device)
  await found.once()
  expect(checks(found)).toContainEqual(['one_request_per_connection', 2, 0])
  door.close()
})
