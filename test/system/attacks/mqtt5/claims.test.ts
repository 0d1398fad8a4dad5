/**
 * The attacker has a claim certificate, or a device's, and the topics of enrolment: he wants another's name, another's answer, a certificate for a
 * key that nobody signed for, a broker, or a desk that is busy with him.
 */

import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect } from 'node:tls'
import type { Packet } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openGateway } from '#gateway/service.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { startDesk, type TestDesk } from '../../../support/enroll-desk.ts'
import { MOSQUITTO, startMosquitto, type Mosquitto } from '../../../support/mosquitto.ts'
import { mqttClient, type MqttClient } from '../../../support/mqtt-client.ts'
import { keyPemOf, makeCa, makeCsr, type TestLeaf } from '../../../support/pki.ts'
import { RELAY, signRequest, type Csr } from '../../../support/relay.ts'
import { ending, protocol, say, subscribe, type Connect, type Level } from './stage.ts'

const NONCE = '$sallyport/certificates/nonce'
const CREATE = '$sallyport/certificates/create-from-csr'
const RENEW = '$sallyport/certificates/renew'
const REPLIES = [NONCE, CREATE, RENEW].flatMap((topic) => [`${topic}/accepted`, `${topic}/rejected`])
const LEVELS = [3, 4, 5] as const

type Who = Pick<TestLeaf, 'fullPem' | 'keyPem'>
type Answer = { readonly topic: string; readonly said: Record<string, string> }

describe.skipIf(MOSQUITTO === undefined)('enrolment over MQTT', () => {
  const now = Date.now()
  const factory = makeCa({ name: 'MQTT Factory', now })
  const opened = new AsyncDisposableStack()
  let desk: TestDesk
  let mosquitto: Mosquitto
  let observer: MqttClient
  let port = 0
  let [one, two]: TestLeaf[] = []
  let victim: Who & { readonly privateKey: Csr['privateKey'] }

  beforeAll(async () => {
    ;[desk, mosquitto] = await Promise.all([
      startDesk({ overrides: { 'enroll.relay_ca': 'certs/services.pem' } }),
      startMosquitto(),
    ])
    opened.use(desk)
    opened.use(mosquitto)
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
        SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${mosquitto.port}`,
      },
    })
    const log = createLog('gateway', 'error', { write: () => {} })
    const scope = {
      log,
      metrics: createMetrics('gateway'),
      clock: Date.now,
      signal: new AbortController().signal,
    }
    const gateway = opened.use(await openGateway(config, scope))
    port = Number(new URL(gateway.urls['mqtts'] as string).port)
    observer = mqttClient(connectTcp(mosquitto.port, '127.0.0.1'))
    opened.defer(() => observer[Symbol.dispose]())
    expect(await observer.connect({ clientId: 'observer' })).toBe(0)
    await subscribe(observer, ['#', '$sallyport/#'])
    ;[one, two] = [claim(), claim()]
    const csr = makeCsr({ commonName: 'victim' })
    const client = await enter(one as TestLeaf)
    const { said } = await create(client, one as TestLeaf, csr)
    victim = {
      fullPem: `${said['certificate']}${said['chain']}`,
      keyPem: keyPemOf(csr.privateKey),
      privateKey: csr.privateKey,
    }
  })
  afterAll(() => opened.disposeAsync())
  // nothing of all this is a broker's business
  afterEach(async () => {
    observer.send(say('mark'))
    const first = await observer.until('publish')
    expect(first.topic).toBe('mark')
    expect(mosquitto.said()).not.toMatch(/\$sallyport\/cert.* from|as claim/)
  })

  const claim = (): TestLeaf => desk.home.pki.device({ id: 'claim', by: factory, names: [] })
  const dial = async (leaf: Who | undefined, level: Level = 4): Promise<MqttClient> => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      ca: desk.home.pki.root.pem,
      ...(leaf === undefined ? {} : { cert: leaf.fullPem, key: leaf.keyPem }),
    })
    await once(socket, 'secureConnect')
    socket.setNoDelay(true)
    const client = mqttClient(socket, level)
    opened.defer(() => client[Symbol.dispose]())
    return client
  }
  const enter = async (leaf: Who, level: Level = 4, over: Connect = {}): Promise<MqttClient> => {
    const client = await dial(leaf, level)
    expect(await client.connect({ ...protocol(level), clientId: 'claim', ...over })).toBe(0)
    expect(await subscribe(client, REPLIES)).toEqual(REPLIES.map(() => 0))
    return client
  }
  const ask = async (client: MqttClient, topic: string, body: object | string = ''): Promise<Answer> => {
    client.send(say(topic, { payload: typeof body === 'string' ? body : JSON.stringify(body) }))
    const { topic: at, payload } = await client.until('publish')
    return { topic: at, said: JSON.parse(String(payload)) as Record<string, string> }
  }
  const nonceOf = async (client: MqttClient): Promise<string> => {
    const { topic, said } = await ask(client, NONCE)
    expect(topic).toBe(`${NONCE}/accepted`)
    return said['nonce'] as string
  }
  const request = (leaf: { privateKey: Csr['privateKey'] }, csr: Csr, nonce: string, over: object = {}) => ({
    csr: csr.pem,
    nonce,
    signature: signRequest(leaf.privateKey, csr.der, nonce),
    ...over,
  })
  const create = async (client: MqttClient, leaf: TestLeaf, csr: Csr): Promise<Answer> =>
    ask(client, CREATE, request(leaf, csr, await nonceOf(client)))

  describe('a claim certificate', () => {
    test.each(LEVELS)('hears and says nothing else, level %i', async (level) => {
      const client = await enter(one as TestLeaf, level)
      const filters = [
        '#',
        '+/#',
        '$sallyport/#',
        '$sallyport/certificates/#',
        '$sallyport/certificates/+/accepted',
        '$sallyport/certificates/create-from-csr/+',
        CREATE,
        `$share/g/${CREATE}/accepted`,
        `${CREATE}/accepted/`,
        '$SYS/#',
        'devices/victim/#',
        'devices/claim/#',
        'fleet/broadcast/#',
      ]
      expect(await subscribe(client, filters)).toEqual(filters.map(() => (level === 5 ? 0x87 : 0x80)))
      for (const topic of [
        'devices/claim/x',
        'devices/victim/x',
        '$sallyport/x',
        '$sallyport/certificates',
        `${CREATE}/accepted`,
        `${CREATE}/`,
        '$SALLYPORT/certificates/nonce',
      ]) {
        const other = await enter(two as TestLeaf, level)
        other.send(say(topic, { qos: 1, messageId: 9, retain: true }))
        const answer = await other.until('puback').catch(() => undefined)
        expect([topic, answer?.reasonCode]).toEqual([topic, level === 5 ? 0x87 : undefined])
        if (level !== 5) expect(other.ended).toBe(true)
        other[Symbol.dispose]()
      }
    })
    test.each(LEVELS)('has no will, and no session, level %i', async (level) => {
      const refused = level === 5 ? 0x87 : 5
      for (const topic of ['devices/victim/x', `${CREATE}/accepted`, NONCE]) {
        const client = await dial(one, level)
        const will = { topic, payload: Buffer.from('evil'), qos: 0, retain: true } as const
        expect(await client.connect({ ...protocol(level), clientId: 'claim', will })).toBe(refused)
      }
      for (let n = 0; n < 2; n += 1) {
        const client = await dial(one, level)
        client.send({
          cmd: 'connect',
          protocolId: 'MQTT',
          ...protocol(level),
          clientId: 'claim',
          clean: false,
          keepalive: 0,
          ...(level === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
        } as Packet)
        const connack = await client.next()
        if (connack.cmd === 'connack') expect(connack.sessionPresent).toBe(false)
        client[Symbol.dispose]()
      }
    })
    test('takes nobody’s place by its ClientID, a device’s or another claim’s', async () => {
      const there = await dial(victim)
      expect(await there.connect({ clientId: 'victim' })).toBe(0)
      const first = await enter(one as TestLeaf, 5, { clientId: 'victim' })
      const second = await enter(two as TestLeaf, 5, { clientId: 'victim' })
      await Promise.all([there, first, second].map((client) => client.ping()))
      expect([there.ended, first.ended, second.ended]).toEqual([false, false, false])
      there[Symbol.dispose]()
    })
    test('by an alias reaches nothing else', async () => {
      const client = await enter(one as TestLeaf, 5)
      const topicAlias = 1
      client.send(say(NONCE, { payload: '', properties: { topicAlias } }))
      const answer = await Promise.race([client.until('publish'), client.closed().then(() => undefined)])
      if (answer === undefined) return
      client.send(say('devices/victim/x', { qos: 1, messageId: 1, properties: { topicAlias } }))
      expect((await client.until('puback')).reasonCode).toBe(0x87)
      client.send(say('', { qos: 1, messageId: 2, properties: { topicAlias } }))
      expect((await client.until('puback').catch(() => undefined))?.reasonCode ?? 0x87).toBe(0x87)
    })
    test('hears its own answers, and no other’s', async () => {
      const [mine, theirs] = await Promise.all([enter(one as TestLeaf), enter(two as TestLeaf)])
      expect((await create(theirs, two as TestLeaf, makeCsr({ commonName: 'pump-own' }))).topic).toBe(
        `${CREATE}/accepted`,
      )
      expect(await mine.ping()).toEqual([])
    })
    test('whose CA is nobody’s, that has expired, or is a device’s, comes no further than CONNECT', async () => {
      const { pki } = desk.home
      for (const leaf of [
        pki.device({ id: 'x', by: makeCa({ name: 'MQTT Factory', now }), names: [] }),
        pki.device({ id: 'x', by: factory, names: [], shape: 'expired' }),
        pki.device({ id: 'x', by: factory, names: [], shape: 'serverAuthOnly' }),
        undefined,
      ]) {
        const client = await dial(leaf)
        expect(await client.connect({ clientId: 'claim' })).toBe(5)
      }
    })
  })

  describe('a request', () => {
    const refused = async (client: MqttClient, topic: string, body: object | string): Promise<string> => {
      const answer = await ask(client, topic, body)
      expect(answer.topic).toBe(`${topic}/rejected`)
      expect(answer.said).not.toHaveProperty('certificate')
      return answer.said['reason'] as string
    }
    test('for the name of a device that there is', async () => {
      const client = await enter(two as TestLeaf)
      for (const commonName of ['victim', 'VICTIM']) {
        const csr = makeCsr({ commonName })
        await refused(client, CREATE, request(two as TestLeaf, csr, await nonceOf(client)))
        await refused(client, RENEW, request(two as TestLeaf, csr, await nonceOf(client)))
      }
    })
    test('signed by another key, over another CSR, group or nonce', async () => {
      const client = await enter(one as TestLeaf)
      const other = await enter(two as TestLeaf)
      const csr = makeCsr({ commonName: 'pump-9' })
      const evil = makeCsr({ commonName: 'pump-9' })
      const nonce = await nonceOf(client)
      const good = request(one as TestLeaf, csr, nonce)
      const foreign = await nonceOf(other)
      const flipped = Buffer.from(nonce, 'base64url')
      flipped[flipped.length - 1] = (flipped.at(-1) as number) ^ 1
      for (const body of [
        { ...good, csr: evil.pem },
        { ...good, signature: signRequest((two as TestLeaf).privateKey, csr.der, nonce) },
        { ...good, signature: signRequest(csr.privateKey, csr.der, nonce) },
        { ...good, group: 'pumps' },
        { ...good, device_id: 'pump-10' },
        { ...good, nonce: foreign },
        request(one as TestLeaf, csr, foreign),
        request(one as TestLeaf, csr, flipped.toString('base64url')),
        request(one as TestLeaf, csr, ''),
        { ...good, signature: '' },
        { ...good, signature: Buffer.alloc(70).toString('base64') },
        { csr: csr.pem, nonce },
        { csr: csr.pem, signature: good.signature },
      ])
        await refused(client, CREATE, body)
      // and it was good
      expect((await ask(client, CREATE, good)).topic).toBe(`${CREATE}/accepted`)
      // on another's connection it is not, and said again it is the same certificate
      await refused(other, CREATE, good)
    })
    test.each([
      ['no JSON', 'evil'],
      ['half of one', '{"csr":'],
      ['a list', '[]'],
      ['null', 'null'],
      ['deep', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
      [
        'a claim of somebody else’s certificate',
        JSON.stringify({ csr: 'x', nonce: 'x', signature: 'x', certificate: 'x' }),
      ],
      ['of another kind', JSON.stringify({ csr: 'x', nonce: 'x', signature: 'x', kind: 'renew' })],
      ['of another prototype', '{"__proto__": {"csr": "x"}, "nonce": "x", "signature": "x"}'],
    ])('that is %s', async (_, payload) => {
      const client = await enter(claim())
      await refused(client, CREATE, payload)
    })
    test('larger than allowed ends the connection, or is refused', async () => {
      const client = await enter(claim(), 5)
      client.send(say(CREATE, { payload: 'x'.repeat(70_000) }))
      const answer = await Promise.race([
        client.until('publish').then(({ topic }) => topic),
        ending(client).then(({ code }) => code),
      ]).catch(() => 0x95)
      expect(answer).toBeOneOf([0x95, `${CREATE}/rejected`])
    })
    test('many of them: refused beyond so many a minute, and others are served', async () => {
      const client = await enter(claim())
      const answers: string[] = []
      for (let n = 0; n < 60; n += 1) client.send(say(NONCE, { payload: '' }))
      for (let n = 0; n < 60 && !client.ended; n += 1) {
        const answer = await client.until('publish').catch(() => undefined)
        if (answer === undefined) break
        answers.push(answer.topic)
      }
      expect(answers.filter((topic) => topic.endsWith('/accepted')).length).toBeLessThanOrEqual(20)
      const flood = await enter(claim(), 5)
      for (let n = 0; n < 200; n += 1) flood.send({ cmd: 'pingreq' })
      await flood.closed()
      expect(
        (await create(await enter(claim()), one as TestLeaf, makeCsr({ commonName: 'pump-x' }))).topic,
      ).toBe(`${CREATE}/rejected`)
      const honest = claim()
      expect((await create(await enter(honest), honest, makeCsr({ commonName: 'pump-y' }))).topic).toBe(
        `${CREATE}/accepted`,
      )
    })
  })

  describe('a device', () => {
    test('creates nothing, hears no answers of others, and renews nobody else', async () => {
      const client = await dial(victim, 5)
      expect(await client.connect({ protocolVersion: 5, clientId: 'victim' })).toBe(0)
      expect(
        await subscribe(client, [
          '$sallyport/#',
          '$sallyport/certificates/+/accepted',
          `$share/g/${RENEW}/accepted`,
        ]),
      ).toEqual([0x87, 0x87, 0x87])
      expect(
        await subscribe(client, [
          `${RENEW}/accepted`,
          `${RENEW}/rejected`,
          `${NONCE}/accepted`,
          `${NONCE}/rejected`,
        ]),
      ).toEqual([0, 0, 0, 0])
      client.send(say(CREATE, { qos: 1, messageId: 5, payload: '{}' }))
      expect((await client.until('puback')).reasonCode).toBe(0x87)
      for (const [commonName, key] of [
        ['pump-9', victim.privateKey],
        ['other', victim.privateKey],
        ['victim', (one as TestLeaf).privateKey],
      ] as const) {
        const csr = makeCsr({ commonName })
        const nonce = await nonceOf(client)
        const answer = await ask(client, RENEW, request({ privateKey: key }, csr, nonce))
        expect([commonName, answer.topic]).toEqual([commonName, `${RENEW}/rejected`])
      }
    })
    test('that is cut in the middle gets no certificate', async () => {
      const leaf = claim()
      const csr = makeCsr({ commonName: 'pump-cut' })
      const { said } = await create(await enter(leaf), leaf, csr)
      const device = { fullPem: `${said['certificate']}${said['chain']}`, keyPem: keyPemOf(csr.privateKey) }
      const client = await dial(device)
      expect(await client.connect({ clientId: 'pump-cut' })).toBe(0)
      expect(
        await subscribe(client, [`${NONCE}/accepted`, `${RENEW}/accepted`, `${RENEW}/rejected`]),
      ).toEqual([0, 0, 0])
      const nonce = await nonceOf(client)
      const answer = await desk.operator('/v1/devices/pump-cut/revoke', { method: 'POST', body: {} })
      expect(answer.status, answer.text).toBeLessThan(300)
      const next = makeCsr({ commonName: 'pump-cut' })
      client.send(say(RENEW, { payload: JSON.stringify(request(csr, next, nonce)) }))
      const packets = await client.closed()
      expect(
        packets.filter((packet) => packet.cmd === 'publish' && packet.topic.endsWith('/accepted')),
      ).toEqual([])
    })
  })

  test('the desk’s own door for gateways is nobody else’s', async () => {
    const { pki } = desk.home
    const body = { kind: 'nonce', certificate: (one as TestLeaf).fullPem, address: '192.0.2.1' }
    for (const leaf of [one as TestLeaf, victim, pki.server(['localhost']), undefined]) {
      const tls = leaf === undefined ? {} : { cert: leaf.fullPem, key: leaf.keyPem }
      const answer = await desk.device(RELAY, { body, tls })
      expect([401, 403]).toContain(answer.status)
    }
  })
})
