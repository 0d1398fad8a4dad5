/** The attacker is a device and wants to be another: by ClientID, user name, user property, takeover or an empty name. */

import { parser, type IConnectPacket, type Packet } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MOSQUITTO } from '../../../support/mosquitto.ts'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import { openMqttHarness, type MqttHarness } from '../../../support/mqtt-door.ts'
import { scriptedBroker, type ScriptedBroker } from '../../../support/scripted-broker.ts'
import {
  ending,
  frame,
  hex,
  LEVELS,
  openStage,
  say,
  section,
  subscribe,
  text,
  type Broker,
  type Level,
  type Stage,
} from './stage.ts'

const NOT_MINE: readonly string[] = [
  'victim',
  'VICTIM',
  'ME',
  'me ',
  ' me',
  'me2',
  'm',
  'me/victim',
  'victim/me',
  'development/me',
  'me@a/b',
  'me@a@b',
  'me@',
  '@me',
  '@sallyport-publish-0000000000000000',
  '@victim',
  'victim@a',
  'victim@me',
  'me@#',
  'me@+',
  'me@a b',
  'me@ä',
  `me@${'x'.repeat(65)}`,
  '${device.id}',
  'me\u200d',
  'm\u0435',
  'observer',
  '$SYS',
  'x'.repeat(1_000),
]
const MISMATCH = (level: Level): number => (level === 5 ? 0x85 : 2)
const QUOTA = (level: Level): number => (level === 5 ? 0x97 : 3)

describe.each<Broker>(['embedded', 'mosquitto'])('before %s', (broker) => {
  describe.skipIf(broker === 'mosquitto' && MOSQUITTO === undefined)('a ClientID', () => {
    let stage: Stage
    let victim: MqttClient
    const levels = LEVELS[broker]
    beforeAll(async () => {
      stage = await openStage(broker)
      victim = await stage.enter('victim', 4)
      await subscribe(victim, ['devices/victim/#'])
    })
    afterAll(() => stage[Symbol.asyncDispose]())
    // whatever was tried, the victim has noticed nothing
    afterEach(async () => {
      expect(await victim.ping()).toEqual([])
    })

    test.each(levels)('that is not mine is refused, `equal`, level %i', async (level) => {
      await stage.putMqtt({})
      for (const clientId of [...NOT_MINE, 'me@a'])
        expect([clientId, await stage.knock('me', level, { clientId })]).toEqual([clientId, MISMATCH(level)])
    })
    test.each(levels)('that is not mine is refused, `prefix`, level %i', async (level) => {
      await stage.putMqtt({ clientId: 'prefix' })
      for (const clientId of NOT_MINE)
        expect([clientId, await stage.knock('me', level, { clientId })]).toEqual([clientId, MISMATCH(level)])
      expect(await stage.knock('me', level, { clientId: 'me@a' })).toBe(0)
      expect(await stage.knock('me', level, { clientId: `me@${'x'.repeat(64)}` })).toBe(0)
    })
    test.each(levels)('of anybody is only a word, `forced`, level %i', async (level) => {
      for (const connections of [1, 3]) {
        await stage.putMqtt({ clientId: 'forced', connections })
        for (const clientId of NOT_MINE) {
          using me = await stage.enter('me', level, { clientId })
          me.send(say('devices/victim/stolen'), say('devices/me/here'))
          await me.ping().catch(() => undefined)
        }
      }
      expect((await stage.heard()).filter((line) => !line.startsWith('devices/me/'))).toEqual([])
      expect(victim.ended).toBe(false)
    })

    test.each(levels)('left empty is me, or nobody, level %i', async (level) => {
      await stage.putMqtt({})
      const codes: unknown[] = []
      for (const clean of [2, 0]) {
        using me = await stage.dial('me', level)
        me.send(
          frame(
            0x10,
            text(level === 3 ? 'MQIsdp' : 'MQTT'),
            Buffer.of(level, clean, 0, 0, ...(level === 5 ? [0] : [])),
            text(''),
          ),
        )
        const answer = await me.until('connack').catch(() => undefined)
        codes.push(level === 5 ? answer?.reasonCode : answer?.returnCode)
        if (level === 5) expect(answer?.properties?.assignedClientIdentifier).toBe('me')
      }
      expect(codes).toEqual({ 3: [2, 2], 4: [0, 2], 5: [0, 0] }[level])
    })
    test.each(levels)(
      'beyond `connections` is refused, and takes nobody’s place, level %i',
      async (level) => {
        await stage.putMqtt({ clientId: 'prefix', connections: 2 })
        using one = await stage.enter('me', level, { clientId: 'me' })
        using two = await stage.enter('me', level, { clientId: 'me@2' })
        expect(await stage.knock('me', level, { clientId: 'me@3' })).toBe(QUOTA(level))
        await one.ping()
        await two.ping()
        // one that is there already is taken over, and the place stays one
        using again = await stage.enter('me', level, { clientId: 'me@2' })
        expect((await ending(two)).code).toBe(level === 5 ? 0x8e : undefined)
        expect(await stage.knock('me', level, { clientId: 'me@3' })).toBe(QUOTA(level))
        again.send({ cmd: 'disconnect' })
        await again.closed()
        await expect.poll(() => stage.knock('me', level, { clientId: 'me@3' })).toBe(0)
      },
    )
    test.each(levels)('and user names and passwords say nothing, level %i', async (level) => {
      await stage.putMqtt({})
      for (const over of [
        { username: 'victim' },
        { username: 'victim', password: Buffer.from('x') },
        { username: '', password: Buffer.alloc(0) },
        { username: 'x'.repeat(1_000) },
      ]) {
        using me = await stage.enter('me', level, over)
        me.send(say('devices/victim/by-user-name'))
        await me.ping().catch(() => undefined)
        expect(await stage.knock('me', level, { ...over, clientId: 'victim' })).toBe(MISMATCH(level))
      }
      expect(await stage.heard()).toEqual([])
      if (stage.mosquitto !== undefined) {
        expect(stage.mosquitto.said()).toMatch(/as me \([^)]*u'me'\)/)
        expect(stage.mosquitto.said()).not.toMatch(/as me[ @][^)]*u'victim'/)
      }
    })
  })
})

describe('what the broker is told of a client of MQTT 5', () => {
  let broker: ScriptedBroker
  let door: MqttHarness
  const connects: IConnectPacket[] = []
  const published: Packet[] = []
  beforeAll(async () => {
    broker = await scriptedBroker({
      connected: (socket) => {
        const reader = parser({ protocolVersion: 5 })
        reader.on('packet', (packet: Packet) => {
          if (packet.cmd === 'connect' && packet.protocolVersion !== 5) socket.write(hex('20020000'))
          else if (packet.cmd === 'connect') {
            connects.push(packet)
            // and what it says of other names is not the client's to hear
            socket.write(
              frame(
                0x20,
                hex('0000'),
                section(
                  Buffer.concat([hex('12'), text('victim')]),
                  Buffer.concat([hex('26'), text('sallyport-identity'), text('victim')]),
                ),
              ),
            )
          } else if (packet.cmd === 'publish') published.push(packet)
          else if (packet.cmd === 'pingreq') socket.write(hex('d000'))
        })
        socket.on('data', (bytes: Buffer) => void reader.parse(bytes))
      },
      said: () => {},
    })
    door = await openMqttHarness({ SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${broker.port}` })
  })
  afterAll(async () => {
    await door[Symbol.asyncDispose]()
    await broker[Symbol.asyncDispose]()
  })

  const LIES = {
    'sallyport-identity': 'victim',
    'sallyport-device': 'victim',
    'Sallyport-Identity': 'victim',
    'SALLYPORT-IDENTITY': 'victim',
    'sallyport-': 'victim',
    honest: 'yes',
  }
  test('no word of ours that the client has said', async () => {
    const leaf = await door.device('me')
    const client = await door.dial(leaf, { version: 5 })
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      clientId: 'me',
      clean: true,
      keepalive: 0,
      username: 'victim',
      password: Buffer.from('secret'),
      properties: { userProperties: LIES, topicAliasMaximum: 10, requestResponseInformation: true },
      will: {
        topic: 'devices/me/will',
        payload: Buffer.from('x'),
        qos: 0,
        retain: false,
        properties: { userProperties: LIES },
      },
    })
    const connack = await client.until('connack')
    expect(connack.reasonCode).toBe(0)
    expect(connack.properties?.assignedClientIdentifier).toBeUndefined()
    expect(JSON.stringify(connack.properties?.userProperties ?? {})).not.toContain('victim')

    const asked = connects.find(({ clientId }) => clientId === 'me') as IConnectPacket
    expect(asked).toMatchObject({ username: 'me' })
    expect(asked.password ?? null).toBeNull()
    expect({ ...asked.properties?.userProperties }).toEqual({ 'sallyport-identity': 'me', honest: 'yes' })
    expect({ ...asked.will?.properties?.userProperties }).toEqual({ honest: 'yes' })
    expect(asked.properties?.topicAliasMaximum ?? 0).toBe(0)

    client.send(say('devices/me/x', { properties: { userProperties: LIES } }))
    await client.ping()
    expect(published).toHaveLength(1)
    expect({
      ...(published[0] as { properties?: { userProperties?: object } }).properties?.userProperties,
    }).toEqual({
      honest: 'yes',
    })
  })

  test.each([
    ['an authentication method', { authenticationMethod: 'SCRAM-SHA-1' }],
    ['one with data', { authenticationMethod: 'x', authenticationData: Buffer.from('n,,n=victim') }],
  ])('%s is refused', async (_, properties) => {
    const client = await door.dial(await door.device(`me-${properties.authenticationMethod}`), { version: 5 })
    const before = connects.length
    expect(await client.connect({ clientId: `me-${properties.authenticationMethod}`, properties })).toBe(0x8c)
    expect(connects).toHaveLength(before)
  })
})
