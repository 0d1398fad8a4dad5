/** What the attacker leaves behind: a will that is to come later, a session where there is to be none, a second message. */

import type { Packet } from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MOSQUITTO } from '../../../support/mosquitto.ts'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import { ending, openStage, protocol, say, subscribe, type Level, type Stage } from './stage.ts'

const LEVELS = [3, 4, 5] as const
const told = (level: Level, code: number): number | undefined => (level === 5 ? code : undefined)
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe.skipIf(MOSQUITTO === undefined)('a delayed will', () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage('mosquitto')
  })
  afterAll(() => stage[Symbol.asyncDispose]())

  const late = (id: string, delay: number) => ({
    clean: false,
    properties: { sessionExpiryInterval: 60 },
    will: {
      topic: `devices/${id}/will`,
      payload: Buffer.from('late'),
      qos: 1,
      retain: false,
      properties: { willDelayInterval: delay },
    } as const,
  })

  test('a will that is to come later does not come for who is cut meanwhile, or before', async () => {
    // mosquitto looks once a second
    const delay = 1
    const enter = (id: string): Promise<MqttClient> => stage.enter(id, 5, late(id, delay))
    const gone = async (client: MqttClient): Promise<void> => {
      client.stream.destroy()
      await client.closed()
    }
    // one that is not cut, to see that it would have come
    await gone(await enter('honest'))
    const away = await enter('away')
    await gone(away)
    const there = await enter('there')
    const suspended = await enter('suspended')
    await gone(suspended)
    const back = await enter('back')
    await gone(back)
    const over = await enter('over')
    const over2 = await enter('over')
    expect((await ending(over)).code).toBe(0x8e)
    await Promise.all([
      stage.door.setState('away', 'revoked'),
      stage.door.setState('there', 'revoked'),
      stage.door.setState('suspended', 'suspended'),
    ])
    expect((await ending(there)).code).toBe(0x98)
    // it comes back in time: no will
    using returned = await stage.enter('back', 5, { clean: false, properties: { sessionExpiryInterval: 60 } })
    const heard: string[] = []
    while (!heard.some((line) => line.includes('honest'))) {
      heard.push(...(await stage.heard()))
      await after(20)
    }
    // the others were due at the same time; a second more for a broker that looks once a second
    await after(1_100)
    heard.push(...(await stage.heard()))
    expect(heard).toEqual(['devices/honest/will late'])
    expect(returned.ended || over2.ended).toBe(false)
    over2[Symbol.dispose]()
  })
})

describe.skipIf(MOSQUITTO === undefined)('one message for each handshake', () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage('mosquitto', { application: { handshakePer: 'message' } })
  })
  afterAll(() => stage[Symbol.asyncDispose]())

  test.each(LEVELS)('and no second, no subscription, no session, level %i', async (level) => {
    using two = await stage.enter('me', level)
    two.send(
      say('devices/me/1', { qos: 1, messageId: 1 }),
      say('devices/me/2', { qos: 1, messageId: 2 }),
      say('devices/me/3'),
    )
    const { packets, code } = await ending(two)
    expect(packets.filter(({ cmd }) => cmd === 'puback').map(({ messageId }) => messageId)).not.toContain(2)
    expect(code).toBe(told(level, 0xa0))
    expect((await stage.heard()).filter((line) => line !== 'devices/me/1 evil')).toEqual([])
    using one = await stage.enter('me', level)
    one.send(say('devices/me/1', { qos: 2, messageId: 1 }))
    await one.until('pubrec')
    one.send({ cmd: 'pubrel', messageId: 1 })
    await one.until('pubcomp')
    await one.closed()
    expect(await stage.heard()).toEqual(['devices/me/1 evil'])
    // a denied one was its one
    using denied = await stage.enter('me', level)
    denied.send(say('devices/you/1', { qos: 1, messageId: 1 }), say('devices/me/2', { qos: 1, messageId: 2 }))
    await denied.closed()
    expect(await stage.heard()).toEqual([])
    using asks = await stage.enter('me', level, {
      clean: false,
      ...(level === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
    })
    expect(await subscribe(asks, ['devices/me/#'], 1)).toEqual([level === 5 ? 0x87 : 0x80])
    asks.send({ cmd: 'disconnect' } as Packet)
    await asks.closed()
    using back = await stage.dial('me', level)
    back.send({
      cmd: 'connect',
      ...protocol(level),
      protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
      clientId: 'me',
      clean: false,
      keepalive: 0,
    } as Packet)
    expect((await back.until('connack')).sessionPresent).toBe(false)
  })
})
