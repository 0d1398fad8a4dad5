/**
 * The device is cut, or its permission is, in the middle of something: with messages queued, with an alias in flight, with a will that is to come
 * later. Nothing of it goes on, and nothing waits for it, or for who comes back under its name.
 */

import type { Packet } from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MOSQUITTO } from '../../../support/mosquitto.ts'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import {
  ALL_ACTS,
  ending,
  LEVELS,
  openStage,
  OWN,
  say,
  subscribe,
  type Broker,
  type Connect,
  type Level,
  type Stage,
} from './stage.ts'

/** a session that stays */
const kept = (level: Level, over: Connect = {}): Connect => ({
  clean: false,
  ...over,
  ...(level === 5 ? { properties: { sessionExpiryInterval: 600, ...over.properties } } : {}),
})
const willOf = (id: string, over: object = {}) =>
  ({ topic: `devices/${id}/will`, payload: Buffer.from('gone'), qos: 1, retain: false, ...over }) as const

describe.each<Broker>(['embedded', 'mosquitto'])('before %s', (broker) => {
  describe.skipIf(broker === 'mosquitto' && MOSQUITTO === undefined)('who is cut', () => {
    let stage: Stage
    const levels = LEVELS[broker]
    const TOPICS = [OWN, { filter: 'shared/#', acts: ALL_ACTS }]
    beforeAll(async () => {
      stage = await openStage(broker, { application: { topics: TOPICS, denyPublish: 'drop' } })
    })
    afterAll(() => stage[Symbol.asyncDispose]())
    const cutIt = (id: string, how: 'revoked' | 'suspended' | 'retired' = 'revoked') =>
      stage.door.setState(id, how)
    /** as the operator and the enroll desk would: a new certificate under the old name */
    const again = async (
      id: string,
      level: Level,
      over: Connect = {},
      certificate = stage.door.device(id),
    ): Promise<{ client: MqttClient; sessionPresent: boolean }> => {
      const leaf = await certificate
      const client = await stage.door.dial(leaf, { version: level })
      client.send({
        cmd: 'connect',
        protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
        protocolVersion: level,
        clientId: id,
        keepalive: 0,
        ...kept(level, over),
      } as Packet)
      const connack = await client.until('connack')
      expect(level === 5 ? connack.reasonCode : connack.returnCode).toBe(0)
      return { client, sessionPresent: connack.sessionPresent }
    }
    const nothingFor = async (client: MqttClient, id: string): Promise<void> => {
      const early = [...client.waiting]
      expect(early).toEqual([])
      await subscribe(client, [`devices/${id}/#`])
      expect(await stage.heardBy(client, id)).toEqual([])
    }
    const knownCut = async (): Promise<void> => {
      // whoever reads the registry after the cut reads it too
      await expect.poll(() => stage.door.front.size()).toBeLessThanOrEqual(broker === 'embedded' ? 1 : 0)
    }

    describe.each(levels)('level %i', (level) => {
      test.each(['revoked', 'suspended', 'retired'] as const)(
        '%s while it is there: told so, will void, session and queue gone',
        async (how) => {
          const id = `${how}-${level}`
          const client = await stage.enter(id, level, kept(level, { will: willOf(id) }))
          await subscribe(client, ['shared/#', `devices/${id}/#`], 1)
          // messages that it never acknowledges
          stage.observer.send(say('shared/a', { qos: 1, messageId: 1 }))
          await client.until('publish')
          await cutIt(id, how)
          expect((await ending(client)).code).toBe(level === 5 ? 0x98 : undefined)
          stage.observer.send(say('shared/b', { qos: 1, messageId: 2 }))
          await stage.observer.until('puback')
          expect(await stage.knock(id, level)).toBe(level === 5 ? 0x87 : 5)
          await knownCut()
          expect(await stage.heard()).not.toContain(`devices/${id}/will gone`)
          if (how === 'suspended') await stage.door.setState(id, 'active')
          if (how === 'retired') return
          const back =
            how === 'suspended' ? await again(id, level, {}, stage.leaf(id)) : await again(id, level)
          expect(back.sessionPresent).toBe(false)
          await nothingFor(back.client, id)
          back.client[Symbol.dispose]()
        },
      )

      test('while it is away: its queue is nobody’s', async () => {
        const id = `away-${level}`
        const client = await stage.enter(id, level, kept(level))
        await subscribe(client, ['shared/#', `devices/${id}/#`], 1)
        client.send({ cmd: 'disconnect' })
        await client.closed()
        await knownCut()
        stage.observer.send(say('shared/secret', { qos: 1, messageId: 1 }))
        await stage.observer.until('puback')
        await cutIt(id)
        const back = await again(id, level)
        expect(back.sessionPresent).toBe(false)
        await nothingFor(back.client, id)
        back.client[Symbol.dispose]()
      })

      test('while it says: what was said before is said, and after it has been told nothing is', async () => {
        const id = `says-${level}`
        const client = await stage.enter(id, level)
        await stage.heard()
        let sent = 0
        const alias = level === 5 ? { properties: { topicAlias: 1 } } : {}
        client.send(say(`devices/${id}/n`, { payload: '0', ...alias }))
        const cut = cutIt(id)
        while (!client.ended && sent < 100_000) {
          sent += 1
          client.send(say(level === 5 ? '' : `devices/${id}/n`, { payload: String(sent), ...alias }))
          if (sent % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
        }
        await cut
        await ending(client)
        // who comes next under the name comes when the broker has done with what was before: no more comes of it then
        const back = await again(id, level)
        const said = await stage.heard()
        expect(said).toEqual(said.map((_, n) => `devices/${id}/n ${n}`))
        expect(said.length).toBeLessThan(sent)
        await back.client.ping()
        expect(await stage.heard()).toEqual([])
        back.client[Symbol.dispose]()
      })

      test('while it publishes at QoS 2: no second half goes on', async () => {
        const id = `half-${level}`
        const client = await stage.enter(id, level, kept(level))
        client.send(say(`devices/${id}/half`, { qos: 2, messageId: 1 }))
        await client.until('pubrec')
        await cutIt(id)
        client.send({ cmd: 'pubrel', messageId: 1 })
        await client.closed()
        // it may have been there in time; what counts is that nothing of it is left for the next of that name
        await stage.heard()
        const back = await again(id, level)
        expect(back.sessionPresent).toBe(false)
        back.client.send({ cmd: 'pubrel', messageId: 1 })
        back.client.send({ cmd: 'pingreq' })
        await back.client.until('pingresp').catch(() => undefined)
        expect(await stage.heard()).toEqual([])
        back.client[Symbol.dispose]()
      })

      test('with several connections: all of them', async () => {
        await stage.putMqtt({ topics: TOPICS, clientId: 'prefix', connections: 3 })
        const id = `many-${level}`
        const names = [id, `${id}@a`, `${id}@b`]
        await expect.poll(() => stage.knock(id, level, { clientId: `${id}@x` })).toBe(0)
        const all = await Promise.all(
          names.map((clientId) => stage.enter(id, level, kept(level, { clientId, will: willOf(id) }))),
        )
        for (const client of all) await subscribe(client, ['shared/#'], 1)
        await stage.heard()
        await cutIt(id)
        for (const client of all) expect((await ending(client)).code).toBe(level === 5 ? 0x98 : undefined)
        await knownCut()
        stage.observer.send(say('shared/secret', { qos: 1, messageId: 1 }))
        await stage.observer.until('puback')
        expect((await stage.heard()).filter((line) => line.includes('will'))).toEqual([])
        for (const clientId of names) {
          const back = await again(id, level, { clientId })
          expect([clientId, back.sessionPresent]).toEqual([clientId, false])
          expect(await back.client.ping()).toEqual([])
          back.client[Symbol.dispose]()
        }
        await stage.putMqtt({ topics: TOPICS, denyPublish: 'drop' })
      })

      test('before its CONNECT is answered: nobody is in', async () => {
        const id = `early-${level}`
        for (let n = 0; n < 4; n += 1) {
          const client = await stage.dial(id, level)
          const code = client.connect({
            ...(level === 3 ? { protocolId: 'MQIsdp' as const } : {}),
            protocolVersion: level,
            clientId: id,
          })
          if (n === 3) await cutIt(id)
          if (n < 3) expect(await code).toBe(0)
          if (n === 3) {
            await code
            await client.closed()
            expect(await stage.knock(id, level)).toBe(level === 5 ? 0x87 : 5)
          }
          client[Symbol.dispose]()
        }
      })

      test('`on_revoke_will: publish` publishes it, and leaves no session all the same', async () => {
        const id = `loud-${level}`
        await stage.putMqtt({ topics: TOPICS, onRevokeWill: 'publish' })
        // known to the door when a CONNECT after it has been judged
        using probe = await stage.enter('probe', level)
        await probe.ping()
        const client = await stage.enter(id, level, kept(level, { will: willOf(id) }))
        await subscribe(client, ['shared/#'], 1)
        await cutIt(id)
        await client.closed()
        await expect.poll(async () => (await stage.heard()).includes(`devices/${id}/will gone`)).toBe(true)
        const back = await again(id, level)
        expect(back.sessionPresent).toBe(false)
        back.client[Symbol.dispose]()
        await stage.putMqtt({ topics: TOPICS, denyPublish: 'drop' })
      })
    })

    test.each(levels)(
      'a policy that changes ends what it no longer allows, and nothing else, level %i',
      async (level) => {
        await stage.putMqtt({ topics: TOPICS, denyPublish: 'drop' })
        using me = await stage.enter('me', level)
        await expect.poll(() => subscribe(me, ['shared/#', 'devices/me/#'], 1)).toEqual([1, 1])
        await stage.putMqtt({ topics: [OWN], denyPublish: 'drop' })
        const heardOne = async (): Promise<boolean> => {
          stage.observer.send(say('shared/later', { payload: 'x' }))
          return (await stage.heardBy(me, 'me')).length > 0
        }
        await expect.poll(heardOne).toBe(false)
        for (let n = 0; n < 10; n += 1) expect(await heardOne()).toBe(false)
        // and given back, it is not as if nothing had been: a client that was told nothing asks again, and hears
        await stage.putMqtt({ topics: TOPICS, denyPublish: 'drop' })
        await expect.poll(() => subscribe(me, ['shared/#'], 1)).toEqual([1])
        expect(await heardOne()).toBe(true)
      },
    )

    test.each(levels)(
      'a session brings along nothing that is not allowed any more, and stalls at nothing, level %i',
      async (level) => {
        const id = `old-${level}`
        const before = await stage.enter(id, level, kept(level))
        await expect.poll(() => subscribe(before, ['shared/#', `devices/${id}/#`], 1)).toEqual([1, 1])
        before.send({ cmd: 'disconnect' })
        await before.closed()
        await knownCut()
        for (let n = 1; n <= 40; n += 1) stage.observer.send(say(`shared/${n}`, { qos: 1, messageId: n }))
        stage.observer.send(say(`devices/${id}/own`, { qos: 1, messageId: 41 }))
        for (let n = 1; n <= 41; n += 1) await stage.observer.until('puback')
        await stage.putMqtt({ topics: [OWN], denyPublish: 'drop' })
        await expect
          .poll(async () => {
            using probe = await stage.enter('probe', level)
            return await subscribe(probe, ['shared/#'])
          })
          .toEqual([level === 5 ? 0x87 : 0x80])
        const after = await stage.enter(id, level, {
          ...kept(level),
          ...(level === 5 ? { properties: { sessionExpiryInterval: 600, receiveMaximum: 1 } } : {}),
        })
        const own = await after.until('publish')
        expect(own.topic).toBe(`devices/${id}/own`)
        after.send({ cmd: 'puback', messageId: own.messageId as number })
        expect(await stage.heardBy(after, id)).toEqual([])
        after[Symbol.dispose]()
        await stage.putMqtt({ topics: TOPICS, denyPublish: 'drop' })
      },
    )

    test.each(levels)(
      'a policy that lets nobody in ends all, and what they have said last is void, level %i',
      async (level) => {
        using me = await stage.enter('me', level, { will: willOf('me') })
        await stage.heard()
        await stage.door.putPolicy({ name: 'valid', exclude: [{ common_name: { common_name: 'me' } }] })
        expect((await ending(me)).code).toBe(level === 5 ? 0x98 : undefined)
        await knownCut()
        expect(await stage.heard()).toEqual([])
        await stage.door.putPolicy({ name: 'valid' })
        await expect.poll(() => stage.knock('me', level)).toBe(0)
      },
    )
  })
})
