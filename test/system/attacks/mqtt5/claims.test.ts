/**
 * The attacker has a claim certificate, or a device's, and the topics of enrolment: he wants another's name, another's answer, a certificate for a
 * key that nobody signed for, a broker, or a desk that is busy with him.
 */

import { connect } from 'node:net'
import type { Packet } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { TestDesk } from '../../../support/enroll-desk.ts'
import { openEnrollingGateway, type EnrollingGateway } from '../../../support/enrolling-gateway.ts'
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
  const opened = new AsyncDisposableStack()
  let gateway: EnrollingGateway
  let desk: TestDesk
  let mosquitto: Mosquitto
  let observer: MqttClient
  let [one, two]: TestLeaf[] = []
  let victim: Who & { readonly privateKey: Csr['privateKey'] }

  beforeAll(async () => {
    mosquitto = opened.use(await startMosquitto())
    gateway = opened.use(
      await openEnrollingGateway({ SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${mosquitto.port}` }),
    )
    ;({ desk } = gateway)
    observer = opened.use(mqttClient(connect(mosquitto.port, '127.0.0.1')))
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

  const claim = (): TestLeaf => gateway.claim()
  const dial: EnrollingGateway['dial'] = (...given) => gateway.dial(...given)
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
        const connack = await client.until('connack')
        expect([connack.reasonCode ?? connack.returnCode, connack.sessionPresent]).toEqual([0, false])
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
    test('has no aliases', async () => {
      const client = await enter(one as TestLeaf, 5)
      client.send(
        say(NONCE, { payload: '', properties: { topicAlias: 1 } }),
        say('devices/victim/x', { qos: 1, messageId: 1, properties: { topicAlias: 1 } }),
      )
      const { packets, code } = await ending(client)
      // said to be 0 of them in CONNACK: a malformed packet, since a claim certificate's door reads none
      expect([packets.length, code]).toEqual([1, 0x81])
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
      const { factory } = gateway
      for (const leaf of [
        pki.device({ id: 'x', by: makeCa({ name: 'MQTT Factory', now: Date.now() }), names: [] }),
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
    test('larger than allowed', async () => {
      await refused(await enter(claim(), 5), CREATE, 'x'.repeat(70_000))
    })
    test('many of them: refused beyond so many a minute, and others are served', async () => {
      const client = await enter(claim())
      const answers: string[] = []
      for (let n = 0; n < 60; n += 1) client.send(say(NONCE, { payload: '' }))
      while (answers.length < 60) answers.push((await client.until('publish')).topic)
      const accepted = answers.filter((topic) => topic === `${NONCE}/accepted`).length
      expect(accepted).toBeGreaterThan(0)
      expect(accepted).toBeLessThanOrEqual(20)
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
