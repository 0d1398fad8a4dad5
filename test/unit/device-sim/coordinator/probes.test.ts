/** The probes can fail: a server that keeps none of the promises is found out, and one that is down is no finding. */

import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createMeter } from '#device-sim/client/meter.ts'
import type { Enrolled } from '#device-sim/client/identity.ts'
import { createProbes } from '#device-sim/coordinator/probes.ts'
import { connack, createWorld, mqttServer } from '../../../support/faulty-servers.ts'
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

/** What a broker makes of a PUBLISH on the topic of another. */
test.each<[string, 'nothing' | 'cuts' | 'acknowledges' | 'refuses', checked: number, broken: number]>([
  ['drops it without a word: not known, and no other probe waits', 'nothing', 0, 0],
  ['cuts the connection, as a restart does: not known', 'cuts', 0, 0],
  ['acknowledges it', 'acknowledges', 2, 2],
  ['refuses it, as only MQTT 5 can', 'refuses', 1, 0],
])('a broker that %s', async (_, makes, checked, broken) => {
  const world = await createWorld()
  const speaksFive = new Set<object>()
  await using broker = await mqttServer(world.tls, (packet, reply, socket) => {
    if (packet.cmd === 'connect' && packet.protocolVersion === 5) speaksFive.add(socket)
    if (packet.cmd === 'connect') reply(connack(0))
    if (packet.cmd === 'disconnect') socket.end()
    if (packet.cmd !== 'publish' || makes === 'nothing') return
    const isRefusal = makes === 'refuses'
    if (makes === 'cuts' || (isRefusal && !speaksFive.has(socket))) return void socket.destroy()
    reply({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: isRefusal ? 135 : 0 })
  })
  const found = createProbes({
    targets: { mqtts: `mqtts://localhost:${broker.port}` },
    rootPem: world.ca.rootPem,
    device: await world.device('probe'),
    path: '/probe',
    meter: createMeter(),
    // a twentieth of the usual: what is not answered is waited for
    patience: makes === 'nothing' ? 250 : undefined,
    signal: new AbortController().signal,
    stopping: new AbortController().signal,
  })
  await found.once()
  const own = found.findings().find(({ name }) => name === 'own_topics_only')
  expect([own?.checked ?? 0, own?.broken ?? 0]).toEqual([checked, broken])
})
