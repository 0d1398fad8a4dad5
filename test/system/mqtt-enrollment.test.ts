/** Enrolment over MQTT from end to end: a claim certificate, the door, the enroll desk, a certificate, and in with it; then the next one. */

import { execFile } from 'node:child_process'
import { once, type EventEmitter } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readCertificates } from '#pki/certificate.ts'
import { REQUEST_TOPICS, RELAY_KINDS, replyTopics } from '#wire/relay.ts'
import { call, type TestDesk } from '../support/enroll-desk.ts'
import { openEnrollingGateway, type EnrollingGateway } from '../support/enrolling-gateway.ts'
import type { MqttClient } from '../support/mqtt-client.ts'
import { keyPemOf, makeCa, makeCsr, type TestLeaf } from '../support/pki.ts'
import { program } from '../support/programs.ts'
import { signRequest } from '../support/relay.ts'

const run = promisify(execFile)
const EXAMPLE = join(import.meta.dirname, '../../examples/mqtt-enroll/main.ts')

let door: EnrollingGateway
let desk: TestDesk
let port = 0
beforeAll(async () => {
  door = await openEnrollingGateway()
  ;({ desk, port } = door)
})
afterAll(() => door[Symbol.asyncDispose]())

const claim = (): TestLeaf => door.claim()
const dial: EnrollingGateway['dial'] = (...given) => door.dial(...given)

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

const enter = async (leaf: TestLeaf, clientId = 'anything'): Promise<MqttClient> => {
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

    expect(await door.metrics.text()).toMatch(
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
    const stranger = await dial(desk.home.pki.device({ by: makeCa({ name: 'Nobody', now: Date.now() }) }))
    expect(await stranger.connect({ clientId: '' })).toBe(5)
    const gateway = await dial(desk.home.pki.gateway())
    expect(await gateway.connect({ clientId: '' })).toBe(5)
    const { fullPem: cert, keyPem: key } = desk.home.pki.gateway()
    const page = await call(door.https, { tls: { ca: desk.home.pki.root.pem, cert, key } })
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
