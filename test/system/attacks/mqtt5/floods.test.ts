/**
 * The attacker says too much: denied messages, filters, aliases, pings, first halves, connections that take each other's place; or does not
 * listen. It costs him his connection or his time, and nobody else's.
 */

import type { TLSSocket } from 'node:tls'
import type { Packet } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MOSQUITTO } from '../../../support/mosquitto.ts'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import {
  ALL_ACTS,
  ending,
  frame,
  hex,
  LEVELS,
  openStage,
  OWN,
  protocol,
  say,
  section,
  subscribe,
  subscription,
  text,
  type Broker,
  type Stage,
} from './stage.ts'

const LIMITS = {
  receive_maximum: 8,
  subscriptions: 20,
  denied_per_minute: 10,
  packets_per_second: 200,
  topic_alias_maximum: 16,
}

describe.each<Broker>(['embedded', 'mosquitto'])('before %s', (broker) => {
  describe.skipIf(broker === 'mosquitto' && MOSQUITTO === undefined)('a flood', () => {
    let stage: Stage
    let pair: { readonly says: MqttClient; readonly hears: MqttClient }
    const levels = LEVELS[broker]
    beforeAll(async () => {
      stage = await openStage(broker, {
        mqtt: LIMITS,
        application: { topics: [OWN, { filter: 'pair/#', acts: ALL_ACTS }], denyPublish: 'drop' },
      })
      const [says, hears] = await Promise.all([stage.enter('says', 4), stage.enter('hears', 4)])
      pair = { says, hears }
      await subscribe(hears, ['pair/#'])
    })
    afterAll(() => stage[Symbol.asyncDispose]())
    let turn = 0
    /** one message there, by two who have done nothing */
    const roundTrip = async (): Promise<void> => {
      const payload = `turn ${(turn += 1)}`
      pair.says.send(say('pair/x', { payload }))
      expect(String((await pair.hears.until('publish')).payload)).toBe(payload)
    }
    afterEach(roundTrip)

    test.each(levels)('of denied messages ends the connection, `drop`, level %i', async (level) => {
      using me = await stage.enter('me', level)
      // as many as are allowed in a minute, and it lives
      for (let n = 0; n < 5; n += 1) me.send(say('devices/says/x'))
      me.send(
        say('devices/says/x', { qos: 1, messageId: 1 }),
        say('devices/says/x', { qos: 2, messageId: 2 }),
      )
      expect((await me.until('puback')).reasonCode ?? 0).toBe(level === 5 ? 0x87 : 0)
      expect((await me.until('pubrec')).reasonCode ?? 0).toBe(level === 5 ? 0x87 : 0)
      if (level !== 5) {
        me.send({ cmd: 'pubrel', messageId: 2 })
        expect((await me.until('pubcomp')).messageId).toBe(2)
      }
      me.send(say('devices/me/still', { qos: 1, messageId: 3 }))
      expect((await me.until('puback')).messageId).toBe(3)
      for (let n = 0; n < 10; n += 1) me.send(say('devices/says/x'))
      expect((await ending(me)).code).toBe(level === 5 ? 0x87 : undefined)
      expect(await stage.heard()).not.toContain('devices/says/x evil')
      // nor is it a way to forget: a new connection has as many again, and no more
      using again = await stage.enter('me', level)
      for (let n = 0; n < 11; n += 1) again.send(say('devices/says/x'))
      await again.closed()
    })

    test.each(levels)(
      'of filters is answered one by one, and there are no more than so many, level %i',
      async (level) => {
        using me = await stage.enter('me', level)
        const filters = Array.from({ length: 60 }, (_, n) => `devices/me/${n}/#`)
        const codes = await subscribe(me, filters)
        expect(codes.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => 0))
        expect(new Set(codes.slice(20))).toEqual(new Set([level === 5 ? 0x97 : 0x80]))
        // the same again is the same, also with other options
        expect(await subscribe(me, filters.slice(0, 20), 1)).toEqual(Array.from({ length: 20 }, () => 1))
        expect(await subscribe(me, ['devices/me/new'])).toEqual([level === 5 ? 0x97 : 0x80])
        me.send({
          cmd: 'unsubscribe',
          messageId: 3,
          unsubscriptions: [filters[0] as string, filters[0] as string],
        })
        await me.until('unsuback')
        expect(await subscribe(me, ['devices/me/new', 'devices/me/newer'])).toEqual([
          0,
          level === 5 ? 0x97 : 0x80,
        ])
      },
    )

    test.each(levels)(
      'of SUBSCRIBE without waiting: each has its SUBACK, or the connection ends, level %i',
      async (level) => {
        using me = await stage.enter('me', level)
        for (let n = 1; n <= 150; n += 1)
          me.send(subscription([`devices/me/${n}`, `devices/says/${n}`, '#'], 1, { messageId: n }))
        const granted: number[] = []
        const ids = new Set<number>()
        for (let n = 1; n <= 150; n += 1) {
          const suback = await me.until('suback').catch(() => undefined)
          if (suback === undefined) break
          ids.add(suback.messageId as number)
          granted.push(...suback.granted.map(Number).filter((code) => code < 0x80))
          expect(suback.granted).toHaveLength(3)
        }
        expect(ids.size).toBe(150)
        expect(granted).toHaveLength(20)
      },
    )

    test.each(levels)('of 3,000 filters in one SUBSCRIBE ends the connection, level %i', async (level) => {
      using me = await stage.enter('me', level)
      const props = level === 5 ? [section()] : []
      const one = Array.from({ length: 3_000 }, (_, n) => [text(`devices/me/${n}`), hex('00')]).flat()
      me.send(frame(0x82, hex('0007'), ...props, ...one))
      const { packets, code } = await ending(me)
      expect([packets.length, code]).toEqual(level === 5 ? [1, 0x97] : [0, undefined])
    })

    test.each(levels)(
      'of first halves: no more than so many are under way, and second halves free them, level %i',
      async (level) => {
        using me = await stage.enter('me', level)
        const half = (messageId: number): Packet => say('devices/me/half', { qos: 2, messageId })
        for (let n = 1; n <= 8; n += 1) me.send(half(n))
        for (let n = 1; n <= 8; n += 1) await me.until('pubrec')
        if (level === 5) {
          me.send(half(9))
          expect((await ending(me)).code).toBe(0x93)
          using again = await stage.enter('me', 5)
          for (let round = 0; round < 3; round += 1) {
            for (let n = 1; n <= 8; n += 1) again.send(half(n))
            for (let n = 1; n <= 8; n += 1) await again.until('pubrec')
            for (let n = 1; n <= 8; n += 1) again.send({ cmd: 'pubrel', messageId: n })
            for (let n = 1; n <= 8; n += 1) await again.until('pubcomp')
          }
        } else {
          // nobody told it of a limit: it must come through, however it goes about it
          for (let n = 9; n <= 40; n += 1) me.send(half(n))
          for (let n = 9; n <= 40; n += 1) await me.until('pubrec')
          for (let n = 1; n <= 40; n += 1) me.send({ cmd: 'pubrel', messageId: n })
          for (let n = 1; n <= 40; n += 1) await me.until('pubcomp')
        }
        await stage.heard()
      },
    )

    test.each(levels)(
      'of second halves that have no first is told so, and the door lives, level %i',
      async (level) => {
        using me = await stage.enter('me', level)
        for (let n = 1; n <= 40; n += 1)
          me.send(
            { cmd: 'pubrel', messageId: n },
            { cmd: 'puback', messageId: n },
            { cmd: 'pubrec', messageId: n },
            { cmd: 'pubcomp', messageId: n },
          )
        const ids: unknown[] = []
        while (ids.length < 40) ids.push((await me.until('pubcomp')).messageId)
        expect(ids).toEqual(Array.from({ length: 40 }, (_, n) => n + 1))
      },
    )

    test.each(levels)('of pings is slowed down, and nobody else is, level %i', async (level) => {
      using me = await stage.enter('me', level)
      let answered = 0
      const all = (async () => {
        while (answered < 600) {
          await me.until('pingresp')
          answered += 1
        }
      })().catch(() => undefined)
      for (let n = 0; n < 600; n += 1) me.send(hex('c000'))
      // round trips of others come before its last answers: two hundred at once, and two hundred a second
      for (let n = 0; n < 40; n += 1) await roundTrip()
      expect(answered).toBeLessThan(600)
      me[Symbol.dispose]()
      await all
    })

    test.each(levels)('of takeovers: one stays, whole, and of the others none, level %i', async (level) => {
      const all = await Promise.all(Array.from({ length: 12 }, () => stage.dial('me', level)))
      const codes = await Promise.all(
        all.map((client) => client.connect({ ...protocol(level), clientId: 'me' })),
      )
      const alive = (): MqttClient[] => all.filter(({ ended }) => !ended)
      await expect.poll(() => alive().length, { timeout: 10_000 }).toBe(1)
      const [last] = alive() as [MqttClient]
      expect(codes[all.indexOf(last)]).toBe(0)
      expect(await subscribe(last, ['devices/me/#'])).toEqual([0])
      stage.observer.send(say('devices/me/once', { payload: 'x' }))
      expect(await stage.heardBy(last, 'me')).toEqual(['devices/me/once x'])
      for (const client of all) {
        if (client === last || level !== 5) continue
        const told = client.waiting.filter(({ cmd }) => cmd === 'disconnect') as { reasonCode?: number }[]
        if (codes[all.indexOf(client)] === 0) expect(told.map(({ reasonCode }) => reasonCode)).toEqual([0x8e])
        client[Symbol.dispose]()
      }
      last[Symbol.dispose]()
    })

    test('of takeovers between two that are alive raises the alarm for the device, once; one that comes back does not', async () => {
      const back = await stage.leaf('back')
      // the network went away, and it came back: six times
      for (let n = 0; n < 6; n += 1) {
        const client = await stage.enter('back', 4)
        client.stream.destroy()
        await expect.poll(() => stage.door.front.size()).toBe(broker === 'embedded' ? 3 : 2)
      }
      const twin = await stage.leaf('twin')
      let before = await stage.enter('twin', 4)
      for (let n = 0; n < 10; n += 1) {
        await before.ping()
        const after = await stage.enter('twin', 4)
        await before.closed()
        before = after
      }
      before[Symbol.dispose]()
      expect(stage.door.suspects).toEqual([twin.facts.fingerprint])
      expect(stage.door.suspects).not.toContain(back.facts.fingerprint)
    })

    test.each(levels)(
      'of large messages to one that does not read delays nobody, level %i',
      async (level) => {
        using deaf = await stage.enter('deaf', level)
        await subscribe(deaf, ['pair/flood/#', 'devices/deaf/#'], 1)
        deaf.stream.pause()
        const { bytesRead } = deaf.stream as TLSSocket
        const payload = Buffer.alloc(20_000, 0x61)
        // what it does not hear is much more than all buffers on the way
        for (let n = 0; n < 500; n += 1) stage.observer.send(say('devices/deaf/flood', { payload }))
        const flood = stage.observer.ping()
        const order: string[] = []
        for (let n = 0; n < 20; n += 1) {
          await roundTrip()
          order.push('pair')
        }
        // and when all of it is there, and the door waits for the deaf one only
        await flood
        for (let n = 0; n < 20; n += 1) {
          await roundTrip()
          order.push('pair')
        }
        // no more than what a stream takes in by itself: it was deaf all the while
        expect(deaf.waiting).toEqual([])
        expect((deaf.stream as TLSSocket).bytesRead - bytesRead).toBeLessThan(10 * payload.length)
        deaf.stream.resume()
        expect((await deaf.until('publish')).topic).toBe('devices/deaf/flood')
        order.push('deaf')
        expect(order).toEqual([...Array.from({ length: 40 }, () => 'pair'), 'deaf'])
      },
    )
  })
})

describe.skipIf(MOSQUITTO === undefined)('in MQTT 5', () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await openStage('mosquitto')
  })
  afterAll(() => stage[Symbol.asyncDispose]())

  test('aliases of the longest topics are held to sixteen', async () => {
    using me = await stage.enter('me')
    const topic = (n: number): string => `devices/me/${String(n).padStart(1_000, 'x')}`
    for (let round = 0; round < 20; round += 1)
      for (let n = 1; n <= 16; n += 1) me.send(say(topic(round), { qos: 0, properties: { topicAlias: n } }))
    await me.ping()
    for (let n = 1; n <= 16; n += 1) me.send(say('', { payload: String(n), properties: { topicAlias: n } }))
    await me.ping()
    const heard = await stage.heard()
    expect(heard).toHaveLength(20 * 16 + 16)
    expect(heard.at(-1)).toBe(`${topic(19)} 16`)
    me.send(say(topic(1), { properties: { topicAlias: 17 } }))
    expect((await ending(me)).code).toBe(0x94)
  })

  test('a client that takes one message at a time is not stalled by those that it may not hear', async () => {
    await stage.putMqtt({
      topics: [OWN, { filter: 'room/#', acts: ['subscribe'] }, { filter: 'room/open', acts: ['receive'] }],
    })
    using me = await stage.enter('me', 5, { properties: { receiveMaximum: 1 } })
    await expect.poll(() => subscribe(me, ['room/#', 'devices/me/#'], 2)).toEqual([2, 2])
    for (let n = 1; n <= 300; n += 1)
      stage.observer.send(say('room/closed', { qos: ((n % 2) + 1) as 1 | 2, messageId: n }))
    for (let n = 1; n <= 300; n += 1) if (n % 2 === 1) stage.observer.send({ cmd: 'pubrel', messageId: n })
    stage.observer.send(say('room/open', { qos: 1, messageId: 301, payload: 'through' }))
    expect(await me.until('publish')).toMatchObject({ topic: 'room/open' })
    // and the second one waits for the acknowledgement of the first
    stage.observer.send(say('room/open', { qos: 1, messageId: 302, payload: 'second' }))
    await me.ping()
    expect(me.waiting.filter(({ cmd }) => cmd === 'publish')).toEqual([])
  })
})
