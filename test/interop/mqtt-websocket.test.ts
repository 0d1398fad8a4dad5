/**
 * MQTT over WebSocket and HTTP in, MQTT out, whole: mqtt.js and the bytes of an attacker, the HTTPS door, the real front, and mosquitto behind it.
 * What the door does with frames and requests, in every detail: test/system/https-door-mqtt-*.test.ts.
 */

import { once } from 'node:events'
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createWebSocketStream, WebSocket, type ClientOptions } from 'ws'
import { openFrontOf } from '#gateway/mqtt-side.ts'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import { MOSQUITTO, startMosquitto, type Mosquitto } from '../support/mosquitto.ts'
import { mqttClient } from '../support/mqtt-client.ts'
import type { TestLeaf } from '../support/pki.ts'
import { requestText } from '../support/raw-https.ts'

describe.skipIf(MOSQUITTO === undefined)('with mosquitto behind the door', () => {
  let broker: Mosquitto
  let door: DoorHarness
  let [lamp, ear]: TestLeaf[] = []
  const open: MqttClient[] = []

  beforeAll(async () => {
    broker = await startMosquitto()
    door = await openDoorHarness({
      env: { SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${broker.port}` },
      front: (core, config, scope) => openFrontOf(core, 'gateway', config, scope),
    })
    const acts = ['publish', 'subscribe', 'receive'] as const
    await door.putApplication({
      mqtt: {
        topics: [
          { filter: 'devices/${device.id}/#', acts },
          { filter: 'room/#', acts },
        ],
      },
      https: { kind: 'mqtt-publish', path: '/publish/*', origin: [] },
    })
    lamp = await door.device('lamp-1')
    ear = await door.device('ear-1')
  })
  afterAll(async () => {
    await door[Symbol.asyncDispose]()
    await broker[Symbol.asyncDispose]()
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.endAsync(true)))
  })

  const tls = ({ keyPem, fullPem }: TestLeaf) => ({
    servername: 'a.test',
    rejectUnauthorized: false,
    key: keyPem,
    cert: fullPem,
    headers: { host: 'a.test' },
  })
  const connect = async (leaf: TestLeaf | undefined, o: IClientOptions = {}): Promise<MqttClient> => {
    const client = await connectAsync(`wss://127.0.0.1:${door.port}/mqtt`, {
      clientId: leaf?.id ?? '',
      reconnectPeriod: 0,
      ...o,
      wsOptions: leaf === undefined ? {} : tls(leaf),
    })
    client.on('error', () => {})
    open.push(client)
    return client
  }
  const heardBy = async (client: MqttClient, filter: string): Promise<IPublishPacket[]> => {
    const heard: IPublishPacket[] = []
    client.on('message', (_, __, packet) => heard.push(packet))
    await client.subscribeAsync(filter, { qos: 2 })
    return heard
  }

  test.each([[4], [5]] as const)(
    'mqtt.js, version %i: publish, subscribe, QoS 0 to 2',
    async (protocolVersion) => {
      const [sender, receiver] = [
        await connect(lamp, { protocolVersion }),
        await connect(ear, { protocolVersion }),
      ]
      const heard = await heardBy(receiver, 'room/#')
      for (const qos of [0, 1, 2] as const) await sender.publishAsync('room/a', `of ${qos}`, { qos })
      const large = Buffer.alloc(200 * 1_024, 'x')
      await sender.publishAsync('room/large', large, { qos: 1 })
      await expect.poll(() => heard.length).toBe(4)
      // QoS 2 is heard with its PUBREL
      const seen = heard.map(({ payload, qos }) => `${qos} ${payload.toString().slice(0, 4)}`)
      expect(seen.toSorted()).toEqual(['0 of 0', '1 of 1', '1 xxxx', '2 of 2'])
      expect(heard.map(({ payload }) => payload)).toContainEqual(large)
    },
  )
  test('mqtt.js with another’s ClientID: CONNACK says so', async () => {
    await expect(connect(lamp, { clientId: 'ear-1' })).rejects.toThrow(/Identifier rejected/i)
  })
  test('packets split at any place, over messages and frames', async () => {
    const socket = new WebSocket(
      `wss://127.0.0.1:${door.port}/mqtt`,
      ['mqtt'],
      tls(lamp as TestLeaf) as ClientOptions,
    )
    await once(socket, 'open')
    const stream = createWebSocketStream(socket)
    using client = mqttClient(stream)
    expect(await client.connect()).toBe(0)
    const receiver = await connect(ear)
    const heard = await heardBy(receiver, 'room/#')
    const publish = Buffer.from('300c0006726f6f6d2f6174776963', 'hex')
    for (const byte of publish) socket.send(Buffer.of(byte), { binary: true })
    for (const [at, byte] of publish.entries())
      socket.send(Buffer.of(byte), { binary: true, fin: at === publish.length - 1 })
    await expect.poll(() => heard.map(({ payload }) => payload.toString())).toEqual(['twic', 'twic'])
  })
  test('is cut when its device is revoked, and nobody else', async () => {
    const leaf = await door.device('lamp-2')
    const [cut, other] = [await connect(leaf, { protocolVersion: 5 }), await connect(ear)]
    const told = new Promise<number | undefined>((resolve) => {
      cut.on('disconnect', ({ reasonCode }) => {
        resolve(reasonCode)
      })
    })
    const closed = new Promise((resolve) => {
      cut.on('close', () => {
        resolve(undefined)
      })
    })
    await door.setState('lamp-2', 'revoked')
    expect(await told).toBe(0x98)
    await closed
    await other.publishAsync('room/a', 'still here', { qos: 1 })
    // mqtt.js says nothing of it
    const again = new WebSocket(`wss://127.0.0.1:${door.port}/mqtt`, ['mqtt'], tls(leaf) as ClientOptions)
    const [error] = (await once(again, 'error')) as [Error]
    expect(error.message).toContain('403')
  })
  test('a client that does not read delays nobody', async () => {
    const [slow, sender, receiver] = [
      await connect(ear),
      await connect(lamp),
      await connect(await door.device('ear-2')),
    ]
    await slow.subscribeAsync('room/flood', { qos: 0 })
    ;(slow.stream as unknown as { pause(): void }).pause()
    const heard = await heardBy(receiver, 'room/quick')
    const piece = Buffer.alloc(64 * 1_024)
    for (let at = 0; at < 200; at += 1) await sender.publishAsync('room/flood', piece, { qos: 0 })
    await sender.publishAsync('room/quick', 'quick', { qos: 1 })
    await expect.poll(() => heard.length, { timeout: 2_000 }).toBe(1)
  })

  describe('a POST', () => {
    const post = (target: string, body: string, headers: readonly string[] = []) =>
      door.say(requestText(target, { method: 'POST', body, headers }), lamp)
    test.each([
      [0, 202],
      [1, 204],
      [2, 204],
    ])('of QoS %i is heard, with who sent it and what it is', async (qos, status) => {
      const heard = await heardBy(await connect(ear, { protocolVersion: 5 }), 'room/#')
      expect(
        (await post(`/publish/room/a?qos=${qos}`, '{"on":true}', ['Content-Type: application/json'])).status,
      ).toBe(status)
      await expect.poll(() => heard.length).toBe(1)
      expect(heard[0]).toMatchObject({
        topic: 'room/a',
        qos,
        retain: false,
        payload: Buffer.from('{"on":true}'),
        properties: { contentType: 'application/json', userProperties: { 'sallyport-device': 'lamp-1' } },
      })
    })
    test('many at once: each has its own acknowledgement', async () => {
      const heard = await heardBy(await connect(ear), 'room/many')
      const all = await Promise.all(
        Array.from({ length: 60 }, (_, at) => post('/publish/room/many?qos=2', String(at))),
      )
      expect(new Set(all.map(({ status }) => status))).toEqual(new Set([204]))
      await expect.poll(() => heard.length).toBe(60)
      expect(new Set(heard.map(({ payload }) => payload.toString())).size).toBe(60)
    })
    test('while the broker is away: 502, and then again', async () => {
      expect((await post('/publish/room/a', 'x')).status).toBe(204)
      await broker.kill()
      await expect.poll(async () => (await post('/publish/room/a', 'x')).status).toBe(502)
      await broker.up()
      await expect
        .poll(async () => (await post('/publish/room/a', 'x')).status, { timeout: 15_000 })
        .toBe(204)
    })
  })
})
