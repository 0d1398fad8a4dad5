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

const probes = (https: string, own: Enrolled | undefined) =>
  createProbes({
    targets: { https },
    rootPem: pki.root.pem,
    device: own,
    path: '/probe',
    meter: createMeter(),
    signal: AbortSignal.timeout(10_000),
  })

test('a careless server is found out, with the evidence', async () => {
  const found = probes(url, device)
  await found.once()
  await found.once()
  expect(found.findings().map(({ name, checked, broken }) => [name, checked, broken])).toEqual([
    ['certificate_required', 2, 2],
    ['one_request_per_connection', 2, 2],
    ['full_handshakes', 2, 2],
  ])
  expect(found.findings().flatMap(({ evidence }) => evidence[0])).toEqual([
    `GET ${url}/probe without a certificate answered 200`,
    'two requests on one connection were answered: 200, 200',
    `${url} resumed a session that was offered again (TLSv1.3)`,
  ])
})

test('without a device only what needs no certificate is tried', async () => {
  const found = probes(url, undefined)
  await found.once()
  expect(found.findings().map(({ name }) => name)).toEqual(['certificate_required'])
})

test('a door that is down lets nobody in, and is no finding', async () => {
  const found = probes('https://localhost:1', device)
  await found.once()
  expect(found.findings()).toEqual([])
})
