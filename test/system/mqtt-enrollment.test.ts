/** Enrolment over MQTT from end to end: a claim certificate, the door, the enroll desk, a certificate, and in with it; then the next one. */

import { execFile } from 'node:child_process'
import { once, type EventEmitter } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '#gateway/service.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics, type Metrics } from '#runtime/metrics.ts'
import { readCertificates } from '#pki/certificate.ts'
import { REQUEST_TOPICS, RELAY_KINDS, replyTopics } from '#wire/relay.ts'
import { call, startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { mqttClient, type MqttClient } from '../support/mqtt-client.ts'
import { keyPemOf, makeCa, makeCsr, type TestLeaf } from '../support/pki.ts'
import { program } from '../support/programs.ts'
import { signRequest } from '../support/relay.ts'

const run = promisify(execFile)
const now = Date.now()
const factory = makeCa({ name: 'MQTT Factory', now })
const EXAMPLE = join(import.meta.dirname, '../../examples/mqtt-enroll/main.ts')

let desk: TestDesk
let port = 0
let https = ''
let metrics: Metrics
const opened = new AsyncDisposableStack()
const logged: Record<string, unknown>[] = []

beforeAll(async () => {
  desk = opened.use(await startDesk({ overrides: { 'enroll.relay_ca': 'certs/services.pem' } }))
  const { home } = desk
  const put = async (path: string, body: object): Promise<void> => {
    const answer = await desk.operator(path, { method: 'PUT', body })
    expect([200, 201], answer.text).toContain(answer.status)
  }
  await put('/v1/groups/pumps', {
    credentials: ['bootstrap'],
    bootstrap: { anchors: factory.pem, certificates_per_credential: 100 },
  })
  await put('/v1/anchors/ours', { pem: home.pki.root.pem + home.pki.devices.pem, hostnames: ['localhost'] })
  await put('/v1/policies/devices', { decision: 'non_identity', include: [{ certificate: {} }] })
  await put('/v1/applications/broker', { hostnames: ['localhost'], mqtt: {}, policies: ['devices'] })

  const config = loadConfig({
    desk: 'gateway',
    cwd: home.path,
    env: {
      SALLYPORT_HOME: home.path,
      SALLYPORT_ENVIRONMENT: 'development',
      SALLYPORT_GATEWAY_HTTPS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_MQTTS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_METRICS_LISTEN: '127.0.0.1:0',
      SALLYPORT_GATEWAY_ENROLL_URL: desk.urls['devices'] as string,
      SALLYPORT_GATEWAY_RELAY_CERT: 'certs/gateway.pem',
      SALLYPORT_GATEWAY_RELAY_KEY: 'certs/private/gateway.key',
    },
  })
  const log = createLog('gateway', 'debug', {
    write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>),
  })
  metrics = createMetrics('gateway')
  const { signal } = new AbortController()
  const gateway = opened.use(await openGateway(config, { log, metrics, clock: Date.now, signal }))
  port = Number(new URL(gateway.urls['mqtts'] as string).port)
  https = `https://localhost:${new URL(gateway.urls['https'] as string).port}/`
})
afterAll(() => opened.disposeAsync())

const claim = (): TestLeaf => desk.home.pki.device({ id: 'claim', by: factory, names: [] })

const dial = async (leaf: Pick<TestLeaf, 'fullPem' | 'keyPem'>): Promise<MqttClient> => {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    ca: desk.home.pki.root.pem,
    cert: leaf.fullPem,
    key: leaf.keyPem,
  })
  await once(socket, 'secureConnect')
  const client = mqttClient(socket)
  opened.defer(() => client[Symbol.dispose]())
  return client
}

const mqttjs = (leaf: Pick<TestLeaf, 'fullPem' | 'keyPem'>, protocolVersion: 4 | 5) =>
  connectAsync({
    protocol: 'mqtts',
    host: '127.0.0.1',
    port,
    // no server name: who comes to enrol may know none
    rejectUnauthorized: false,
    key: leaf.keyPem,
    cert: leaf.fullPem,
    clientId: '',
    protocolVersion,
    reconnectPeriod: 0,
  })

const REPLIES = RELAY_KINDS.flatMap((kind) => Object.values(replyTopics(kind)))

const enter = async (leaf: Parameters<typeof dial>[0], clientId = 'anything'): Promise<MqttClient> => {
  const client = await dial(leaf)
  expect(await client.connect({ clientId })).toBe(0)
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: REPLIES.map((topic) => ({ topic, qos: 0 })) })
  expect((await client.until('suback')).granted).toEqual(REPLIES.map(() => 0))
  return client
}

const ask = async (client: MqttClient, kind: 'nonce' | 'create' | 'renew', body?: object) => {
  const payload = body === undefined ? '' : JSON.stringify(body)
  client.send({ cmd: 'publish', topic: REQUEST_TOPICS[kind], payload, qos: 0, dup: false, retain: false })
  const { topic, payload: answer } = await client.until('publish')
  return { topic, answer: JSON.parse(String(answer)) as Record<string, string> }
}

const request = async (client: MqttClient, kind: 'create' | 'renew', leaf: TestLeaf, csr = makeCsr()) => {
  const { answer } = await ask(client, 'nonce')
  const nonce = answer['nonce'] as string
  return ask(client, kind, { csr: csr.pem, nonce, signature: signRequest(leaf.privateKey, csr.der, nonce) })
}

describe('over the door', () => {
  it('a claim certificate becomes a device, which comes in and renews', async () => {
    const leaf = claim()
    const client = await enter(leaf)
    const csr = makeCsr({ commonName: 'pump-1' })
    const { topic, answer } = await request(client, 'create', leaf, csr)
    expect([topic, answer['device_id']]).toEqual([replyTopics('create').accepted, 'pump-1'])

    const [facts] = readCertificates(answer['certificate'] as string)
    const device: TestLeaf = {
      ...csr,
      id: 'pump-1',
      der: facts?.der as Uint8Array,
      facts: facts as TestLeaf['facts'],
      certPem: answer['certificate'] as string,
      chainPem: answer['chain'] as string,
      fullPem: `${answer['certificate']}${answer['chain']}`,
      keyPem: keyPemOf(csr.privateKey),
    }
    const own = await enter(device, 'pump-1')
    // it is an ordinary device, too
    own.send({
      cmd: 'publish',
      topic: 'devices/pump-1/hello',
      payload: 'x',
      qos: 1,
      messageId: 9,
      dup: false,
      retain: false,
    })
    expect(await own.until('puback')).toMatchObject({ messageId: 9 })
    const next = await request(own, 'renew', device, makeCsr({ commonName: 'pump-1' }))
    expect([next.topic, next.answer['device_id']]).toEqual([replyTopics('renew').accepted, 'pump-1'])
    expect(next.answer['serial']).not.toBe(answer['serial'])

    expect(await metrics.text()).toMatch(
      /sallyport_mqtt_enrollments_total\{[^}]*kind="create",outcome="accepted"[^}]*\} 1/,
    )
  })

  it('in MQTT 5 too, whatever the broker behind speaks, with what was sent along; a device is told that it does not', async () => {
    const leaf = claim()
    const client = await mqttjs(leaf, 5)
    await client.subscribeAsync(replyTopics('nonce').accepted)
    const answer = once(client as unknown as EventEmitter, 'message')
    client.publish(REQUEST_TOPICS.nonce, '', { properties: { correlationData: Buffer.from('c-1') } })
    const [topic, payload, packet] = (await answer) as [
      string,
      Buffer,
      { properties?: { correlationData?: Buffer } },
    ]
    expect([topic, String(packet.properties?.correlationData)]).toEqual([
      replyTopics('nonce').accepted,
      'c-1',
    ])
    expect(JSON.parse(String(payload))).toHaveProperty('nonce')
    await client.endAsync()
    await expect(mqttjs(desk.home.pki.device({ id: 'x' }), 5)).rejects.toThrow(/Unsupported Protocol/i)
  })

  it('what enroll refuses is said as it says it', async () => {
    const leaf = claim()
    const client = await enter(leaf)
    const { answer } = await ask(client, 'nonce')
    const csr = makeCsr({ commonName: 'pump-2' })
    const refused = await ask(client, 'create', {
      csr: csr.pem,
      nonce: answer['nonce'],
      signature: signRequest(csr.privateKey, csr.der, answer['nonce'] as string),
    })
    expect(refused).toMatchObject({
      topic: replyTopics('create').rejected,
      answer: { reason: 'token_invalid', status: 401, type: 'urn:sallyport:problem:token_invalid' },
    })
    const renewed = await request(client, 'renew', leaf, csr)
    // its nonces are for enrolments
    expect(renewed.answer).toMatchObject({ reason: 'token_invalid' })
    expect(await ask(client, 'create', { csr: csr.pem })).toMatchObject({ answer: { reason: 'bad_request' } })
  })

  it('a claim certificate may touch nothing else', async () => {
    const client = await dial(claim())
    expect(await client.connect({ clientId: 'pump-1', keepalive: 30 })).toBe(0)
    client.send({
      cmd: 'subscribe',
      messageId: 2,
      subscriptions: ['#', '$SYS/#', 'devices/pump-1/#'].map((topic) => ({ topic, qos: 0 })),
    })
    expect(await client.until('suback')).toMatchObject({ granted: [0x80, 0x80, 0x80] })
    client.send({ cmd: 'publish', topic: 'devices/pump-1/x', payload: '', qos: 0, dup: false, retain: false })
    await client.closed()
  })

  it('a device creates nothing, and a stranger does not come in', async () => {
    const stranger = await dial(desk.home.pki.device({ by: makeCa({ name: 'Nobody', now }) }))
    expect(await stranger.connect({ clientId: '' })).toBe(5)
    const gateway = await dial(desk.home.pki.gateway())
    expect(await gateway.connect({ clientId: '' })).toBe(5)
    const { fullPem: cert, keyPem: key } = desk.home.pki.gateway()
    const page = await call(https, { tls: { ca: desk.home.pki.root.pem, cert, key } })
    expect([page.status, page.json?.['reason']]).toEqual([403, 'certificate_wrong_purpose'])
    const withWill = await dial(claim())
    expect(
      await withWill.connect({ will: { topic: 'a', payload: Buffer.from('x'), qos: 0, retain: false } }),
    ).toBe(5)
  })

  it('clients are told of the CA of the group, and it is not trusted for that', async () => {
    const shell = `openssl s_client -connect 127.0.0.1:${port} -servername localhost </dev/null`
    const { stdout } = await run('/bin/sh', ['-c', shell])
    expect(stdout).toMatch(/Acceptable client certificate CA names[^]*CN ?= ?MQTT Factory/)
  })
})

it.skipIf(program('mosquitto_rr') === undefined)('so does a shell, with what Debian has', async () => {
  const folder = join(desk.home.path, 'shell')
  mkdirSync(folder)
  const leaf = claim()
  const files = { 'root.pem': desk.home.pki.root.pem, 'claim.pem': leaf.fullPem, 'claim.key': leaf.keyPem }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 })
  const script = EXAMPLE.replace('main.ts', 'enroll.sh')
  await run('/bin/sh', [script, 'localhost', String(port), 'root.pem', 'claim.pem', 'claim.key', 'pump-sh'], {
    cwd: folder,
  })
  const { stdout } = await run(
    'openssl',
    ['verify', '-CAfile', 'root.pem', '-untrusted', 'pump-sh.pem', 'pump-sh.pem'],
    { cwd: folder },
  )
  expect(stdout).toBe('pump-sh.pem: OK\n')
})

it('the example client enrols, and renews', async () => {
  const folder = join(desk.home.path, 'example')
  mkdirSync(folder)
  const at = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  const leaf = claim()
  const csr = makeCsr({ commonName: 'pump-9' })
  const shared = [
    '--url',
    `mqtts://localhost:${port}`,
    '--ca',
    at('root.pem', desk.home.pki.root.pem),
    '--csr',
    at('device.csr', csr.pem),
  ]
  const own = join(folder, 'device.pem')
  const first = await run(process.execPath, [
    EXAMPLE,
    ...shared,
    '--cert',
    at('claim.pem', leaf.fullPem),
    '--key',
    at('claim.key', leaf.keyPem),
    '--out',
    own,
  ])
  expect(first.stderr).toMatch(/^pump-9: until /)
  const again = await run(process.execPath, [
    EXAMPLE,
    ...shared,
    '--cert',
    own,
    '--key',
    at('device.key', keyPemOf(csr.privateKey)),
    '--renew',
  ])
  expect(again.stdout).toContain('BEGIN CERTIFICATE')
})
