/**
 * The attacker is a device of MQTT 5 and wants to be heard, or to hear, where it may not: by topic, alias, Response Topic, will, share,
 * subscription or what is retained. Mosquitto behind the door, so that it is the door that says no. MQTT 3: ../mqtt/topics.ts.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { MOSQUITTO } from '../../../support/mosquitto.ts'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import {
  ALL_ACTS,
  ending,
  frame,
  hex,
  openStage,
  OWN,
  say,
  section,
  subscribe,
  text,
  type Stage,
} from './stage.ts'

const DENIED = 0x87
const FOREIGN: readonly string[] = [
  'devices/victim/x',
  'devices/victim',
  'devices',
  '/devices/me/x',
  'devices//me/x',
  'Devices/me/x',
  'devices/ME/x',
  'devices/me2/x',
  'devices/me@a/x',
  '$SYS/broker/x',
  '$SYS',
  '$share/g/devices/me/x',
  '$queue/devices/me/x',
  '$delayed/1/devices/victim/x',
  '$sallyport',
  '$sallyport/x',
  '$sallyport/certificates/create-from-csr',
  '$sallyport/certificates/create-from-csr/accepted',
  '$SALLYPORT/x',
  'fleet/broadcast/x',
  'devices/./me/x',
  'devices/victim/../me/x',
  '${device.id}/x',
]
/** no topic names at all */
const NO_TOPICS: readonly (readonly [string, Uint8Array])[] = [
  ['a wildcard', Buffer.from('devices/me/#')],
  ['another', Buffer.from('devices/+/x')],
  ['NUL', Buffer.from('devices/me/\0x')],
  ['an overlong slash', Buffer.concat([Buffer.from('devices/me'), hex('c0af')])],
  ['an overlong NUL', Buffer.concat([Buffer.from('devices/me/'), hex('c080')])],
  ['three octets for one', Buffer.concat([Buffer.from('devices/me/'), hex('e080af')])],
  ['half a surrogate pair', Buffer.concat([Buffer.from('devices/me/'), hex('eda080')])],
  ['beyond Unicode', Buffer.concat([Buffer.from('devices/me/'), hex('f4908080')])],
  ['a cut character', Buffer.concat([Buffer.from('devices/me/'), hex('e282')])],
  ['a control character', Buffer.from('devices/me/\u0007')],
  ['too many levels', Buffer.from(`devices/me/${'a/'.repeat(40)}`)],
  ['too much', Buffer.from(`devices/me/${'a'.repeat(2_000)}`)],
]

describe.skipIf(MOSQUITTO === undefined)('topics of MQTT 5', () => {
  let stage: Stage
  let victim: MqttClient
  let me: MqttClient
  let id = 0
  const next = (): number => (id += 1)
  /** @returns the code of its acknowledgement */
  const code = async (packet: ReturnType<typeof say>): Promise<number> => {
    me.send(packet)
    const ack = packet.qos === 2 ? await me.until('pubrec') : await me.until('puback')
    expect(ack.messageId).toBe(packet.messageId)
    return ack.reasonCode ?? 0
  }
  const mine = ({ heard }: { heard: readonly string[] }): readonly string[] =>
    heard.filter((line) => !/^devices\/me[ /]/.test(line))

  beforeAll(async () => {
    stage = await openStage('mosquitto', { mqtt: { denied_per_minute: 1_000 } })
    victim = await stage.enter('victim')
    await subscribe(victim, ['devices/victim/#', 'fleet/broadcast/#'], 1)
  })
  afterAll(() => stage[Symbol.asyncDispose]())
  beforeEach(async () => {
    await stage.putMqtt({})
    me = await stage.enter('me')
    await stage.heard()
  })
  afterEach(async () => {
    me[Symbol.dispose]()
    expect(await stage.heardBy(victim, 'victim')).toEqual([])
    expect(victim.ended).toBe(false)
  })

  describe('said where it may not be', () => {
    test('at each QoS, kept or not: told so, and nobody hears it, then or later', async () => {
      for (const topic of FOREIGN) {
        me.send(say(topic, { retain: true }))
        for (const qos of [1, 2] as const)
          expect([topic, await code(say(topic, { qos, retain: true, messageId: next() }))]).toEqual([
            topic,
            DENIED,
          ])
      }
      // a denied PUBREC is its end: the second half of none of them
      me.send({ cmd: 'pubrel', messageId: id }, { cmd: 'pubrel', messageId: id - 1 })
      await me.ping().catch(() => undefined)
      expect(await stage.heard()).toEqual([])
      using late = await stage.enter('late')
      await subscribe(late, ['fleet/broadcast/#', 'devices/late/#'])
      expect(await stage.heardBy(late, 'late')).toEqual([])
    })
    test.each(NO_TOPICS)('%s ends the connection', async (_, topic) => {
      me.send(
        frame(0x30, text(topic), section(), Buffer.from('evil')),
        say('devices/victim/behind', { qos: 1, messageId: 1 }),
      )
      const end = await ending(me)
      expect(end.packets).toHaveLength(1)
      expect(end.code).toBeOneOf([0x81, 0x82, 0x90, 0x95])
      expect(await stage.heard()).toEqual([])
    })
    test('behind a good one, in one write, and in pieces', async () => {
      me.send(
        say('devices/me/a', { qos: 1, messageId: 1 }),
        say('devices/victim/b', { qos: 1, messageId: 2 }),
        say('devices/me/c', { qos: 1, messageId: 3 }),
      )
      const codes = new Map<number, number>()
      while (codes.size < 3) {
        const { messageId, reasonCode } = await me.until('puback')
        codes.set(messageId as number, reasonCode ?? 0)
      }
      expect(codes.get(2)).toBe(DENIED)
      expect([codes.get(1), codes.get(3)].every((each) => (each as number) < 0x80)).toBe(true)
      expect(await stage.heard()).toEqual(['devices/me/a evil', 'devices/me/c evil'])
    })
    test('as the second of one id, QoS 2, the first one mine', async () => {
      expect(await code(say('devices/me/a', { qos: 2, messageId: 9 }))).toBeLessThan(0x80)
      me.send(say('devices/victim/b', { qos: 2, messageId: 9, dup: true }), { cmd: 'pubrel', messageId: 9 })
      // an id that is under way is nobody else's
      expect((await ending(me)).code).toBe(0x82)
      expect(mine({ heard: await stage.heard() })).toEqual([])
    })
    test('a denied second of one id, and its second half, do not send the first', async () => {
      // the door answers for what it denied; the broker keeps the other
      expect(await code(say('devices/victim/b', { qos: 2, messageId: 4 }))).toBe(DENIED)
      expect(await code(say('devices/me/a', { qos: 2, messageId: 4 }))).toBeLessThan(0x80)
      me.send({ cmd: 'pubrel', messageId: 4 })
      expect((await me.until('pubcomp')).messageId).toBe(4)
      expect(await stage.heard()).toEqual(['devices/me/a evil'])
    })
  })

  describe('by an alias', () => {
    const aliased = (topic: string, topicAlias: number, over = {}) =>
      say(topic, { qos: 1, messageId: next(), properties: { topicAlias }, ...over })

    test('that was set on a topic of mine, and then on a foreign one', async () => {
      expect(await code(aliased('devices/me/a', 1))).toBeLessThan(0x80)
      expect(await code(aliased('', 1))).toBeLessThan(0x80)
      expect(await code(aliased('devices/victim/x', 1))).toBe(DENIED)
      // it stands for the foreign one now (§3.3.2.3.4), and is judged each time
      expect(await code(aliased('', 1))).toBe(DENIED)
      expect(await code(aliased('devices/me/b', 1))).toBeLessThan(0x80)
      expect(await code(aliased('', 1))).toBeLessThan(0x80)
      expect(await stage.heard()).toEqual([
        'devices/me/a evil',
        'devices/me/a evil',
        'devices/me/b evil',
        'devices/me/b evil',
      ])
    })
    test('at QoS 0, where nobody is told', async () => {
      me.send(
        say('devices/victim/x', { properties: { topicAlias: 2 } }),
        say('', { properties: { topicAlias: 2 } }),
        say('devices/me/y', { properties: { topicAlias: 2 } }),
        say('', { properties: { topicAlias: 2 } }),
      )
      await me.ping()
      expect(await stage.heard()).toEqual(['devices/me/y evil', 'devices/me/y evil'])
    })
    test('that stood for what was mine until the policy changed', async () => {
      await stage.putMqtt({ topics: [OWN, { filter: 'shared/#', acts: ALL_ACTS }] })
      await expect.poll(() => code(aliased('shared/x', 3))).toBeLessThan(0x80)
      await stage.heard()
      await stage.putMqtt({ topics: [OWN] })
      await expect.poll(() => code(aliased('', 3))).toBe(DENIED)
      await stage.heard()
      expect(await code(aliased('', 3))).toBe(DENIED)
      expect(await stage.heard()).toEqual([])
    })
    test.each([
      ['0', hex('23 0000')],
      ['one more than there are', hex('23 0011')],
      ['65535', hex('23 ffff')],
      ['one that stands for nothing', hex('23 0005')],
    ])('%s', async (_, property) => {
      me.send(frame(0x32, text(''), hex('0001'), section(property), Buffer.from('evil')))
      expect((await ending(me)).code).toBeOneOf([0x82, 0x94])
    })
    test.each([
      ['without one, and without a topic', section()],
      ['twice, with different ones', section(hex('23 0001'), hex('23 0002'))],
      ['twice, with the same', section(hex('23 0001'), hex('23 0001'))],
      ['and a second Response Topic', section(hex('08 0001 61 08 0001 62'))],
      ['an identifier that is the broker’s to say', section(hex('0b 01'))],
      ['a property of CONNECT', section(hex('21 0010'))],
      ['a property of nothing', section(hex('7f 00'))],
      ['properties longer than the packet', hex('7f')],
      ['properties that end in the middle', section(hex('23 00'))],
    ])('%s: ends the connection', async (_, properties) => {
      me.send(
        aliased('devices/me/1', 1),
        aliased('devices/victim/2', 2),
        frame(0x30, text(''), properties, Buffer.from('evil')),
      )
      expect((await ending(me)).code).toBeOneOf([0x81, 0x82, 0x94])
      expect(mine({ heard: await stage.heard() })).toEqual([])
    })
    test('of another connection, or of my last one', async () => {
      expect(await code(aliased('devices/me/a', 7))).toBeLessThan(0x80)
      using again = await stage.enter('me', 5, { clean: false, properties: { sessionExpiryInterval: 60 } })
      again.send(say('', { qos: 1, messageId: 1, properties: { topicAlias: 7 } }))
      expect((await ending(again)).code).toBeOneOf([0x82, 0x94])
      victim.send(say('', { properties: { topicAlias: 7 } }))
      expect((await ending(victim)).code).toBeOneOf([0x82, 0x94])
      victim = await stage.enter('victim')
      await subscribe(victim, ['devices/victim/#', 'fleet/broadcast/#'], 1)
    })
    test('reaches the broker written out, and never as an alias', async () => {
      const before = stage.mosquitto?.said().length ?? 0
      expect(await code(aliased('devices/me/long', 4))).toBeLessThan(0x80)
      expect(await code(aliased('', 4))).toBeLessThan(0x80)
      const lines =
        stage.mosquitto
          ?.said()
          .slice(before)
          .match(/Received PUBLISH from me .*/g) ?? []
      expect(lines).toHaveLength(2)
      for (const line of lines) expect(line).toContain("'devices/me/long'")
    })
    test('sent by the broker there is none, whatever the client offers', async () => {
      using asks = await stage.enter('asks', 5, { properties: { topicAliasMaximum: 10 } })
      await subscribe(asks, ['devices/asks/#'])
      for (let n = 0; n < 5; n += 1) stage.observer.send(say('devices/asks/x'))
      for (let n = 0; n < 5; n += 1) {
        const { topic, properties } = await asks.until('publish')
        expect([topic, properties?.topicAlias]).toEqual(['devices/asks/x', undefined])
      }
    })
  })

  describe('by a Response Topic, so that who answers writes there for me', () => {
    const asking = (responseTopic: string) =>
      say('devices/me/ask', { qos: 1, messageId: next(), properties: { responseTopic } })

    test('that I may not hear', async () => {
      for (const topic of FOREIGN.filter((each) => each !== 'fleet/broadcast/x'))
        expect([topic, await code(asking(topic))]).toEqual([topic, DENIED])
      expect(await stage.heard()).toEqual([])
      expect(await code(asking('devices/me/answers'))).toBeLessThan(0x80)
    })
    test.each(NO_TOPICS)('%s', async (_, topic) => {
      me.send(
        frame(
          0x30,
          text('devices/me/ask'),
          section(Buffer.concat([hex('08'), text(topic)])),
          Buffer.from('evil'),
        ),
      )
      me.send({ cmd: 'pingreq' })
      await me.until('pingresp').catch(() => undefined)
      expect(await stage.heard()).toEqual([])
    })
    test('of a will', async () => {
      for (const topic of ['devices/victim/x', '$SYS/x', '$sallyport/x', 'devices/#']) {
        const answer = await stage.knock('me', 5, {
          will: {
            topic: 'devices/me/will',
            payload: Buffer.from('evil'),
            qos: 0,
            retain: false,
            properties: { responseTopic: topic },
          },
        })
        expect([topic, answer]).toEqual([topic, topic.includes('#') ? 0x81 : DENIED])
      }
    })
    test('when it is of mine, but no longer', async () => {
      await stage.putMqtt({ topics: [OWN, { filter: 'shared/#', acts: ALL_ACTS }] })
      await expect.poll(() => code(asking('shared/answers'))).toBeLessThan(0x80)
      await stage.putMqtt({ topics: [OWN, { filter: 'shared/#', acts: ['publish'] }] })
      await expect.poll(() => code(asking('shared/answers'))).toBe(DENIED)
    })
  })

  describe('a will', () => {
    const will = (topic: string, over = {}) => ({
      will: { topic, payload: Buffer.from('evil'), qos: 1, retain: true, ...over } as const,
    })
    test('where I may not publish is refused with the CONNECT', async () => {
      for (const topic of FOREIGN)
        expect([topic, await stage.knock('me', 5, will(topic))]).toEqual([topic, DENIED])
      expect(await stage.heard()).toEqual([])
    })
    test('whose topic is closed meanwhile does not go out: its connection ends with the topic', async () => {
      await stage.putMqtt({ topics: [OWN, { filter: 'shared/#', acts: ALL_ACTS }] })
      // the policy's change reaches the door a moment after it is written
      await expect.poll(() => stage.knock('probe', 5, will('shared/unused'))).toBe(0)
      using client = await stage.enter('me', 5, will('shared/will'))
      await stage.putMqtt({ topics: [OWN, { filter: 'shared/#', acts: ['subscribe', 'receive'] }] })
      expect((await ending(client)).code).toBe(DENIED)
      using again = await stage.enter('me')
      await again.ping()
      expect((await stage.heard()).filter((line) => line.includes('will'))).toEqual([])
    })
  })

  describe('heard where it may not be', () => {
    const filters: readonly string[] = [
      '#',
      '+/#',
      '/#',
      'devices/#',
      'devices/+/#',
      'devices/+/x',
      '+/me/#',
      'devices/victim/#',
      'devices/victim/+',
      'devices/me2/#',
      'fleet/#',
      '$SYS/#',
      '$SYS/broker/clients/connected',
      '$+/#',
      '$sallyport/#',
      '$sallyport/certificates/create-from-csr/accepted',
      '$share/g/#',
      '$share/g/devices/victim/#',
      '$share/g/devices/+/x',
      '$share/g/$SYS/#',
      '$share/g/$sallyport/#',
      '$share/g/$share/h/devices/victim/#',
      '$share/devices/victim/#',
      '$queue/devices/victim/#',
    ]
    /** a wildcard in a name is no filter, nor is a share of a share */
    const codeOf = (filter: string): number => (/^\$\+|\$share.*\$share/.test(filter) ? 0x8f : DENIED)
    const broken: readonly string[] = [
      '$share//devices/me/#',
      '$share/+/devices/me/#',
      '$share/#/devices/me/x',
      '$share/g+/devices/me/x',
      '$share',
      '$share/',
      '$share/g',
      '$share/g/',
      'devices/me/#/x',
      'devices/me/x#',
      'devices/me/x+',
      '',
    ]
    test('no filter gives anything, in one SUBSCRIBE with a good one and in one by itself', async () => {
      expect(await subscribe(me, ['devices/me/#', ...filters, 'fleet/broadcast/#'], 1)).toEqual([
        1,
        ...filters.map(codeOf),
        1,
      ])
      for (const filter of filters)
        expect([filter, await subscribe(me, [filter], 2)]).toEqual([filter, [codeOf(filter)]])
      for (const topic of ['devices/victim/s', 'devices/me2/s', 'fleet/s', 'x', '/x'])
        stage.observer.send(say(topic, { payload: 'secret' }))
      expect(await stage.heardBy(me, 'me')).toEqual([])
      expect(await stage.heardBy(victim, 'victim')).toEqual(['devices/victim/s secret'])
    })
    test('what is no filter is none, and the others of its SUBSCRIBE are judged all the same', async () => {
      for (const filter of broken) {
        using client = await stage.enter('other')
        client.send(
          frame(0x82, hex('0007'), section(), text('devices/other/#'), hex('00'), text(filter), hex('00')),
        )
        const { granted } = await client.until('suback')
        expect([filter, ...granted]).toEqual([filter, 0, filter === '$share' ? DENIED : 0x8f])
      }
    })
    test('a share of my own is mine, and only with those who may', async () => {
      expect(await subscribe(me, ['$share/g/devices/me/#'], 1)).toEqual([1])
      using other = await stage.enter('other')
      expect(await subscribe(other, ['$share/g/devices/me/#'])).toEqual([DENIED])
      stage.observer.send(say('devices/me/s', { payload: 'shared' }))
      expect(await stage.heardBy(me, 'me')).toEqual(['devices/me/s shared'])
    })
    test('a share with No Local is a protocol error (§3.8.3.1)', async () => {
      me.send(frame(0x82, hex('0001'), section(), text('$share/g/devices/me/#'), hex('04')))
      const answer = await me.next()
      expect(answer.cmd).toBe('disconnect')
    })
    test('what I may subscribe to and not receive is not delivered, kept, live or overlapping', async () => {
      await stage.putMqtt({
        topics: [
          OWN,
          { filter: 'room/#', acts: ['subscribe'] },
          { filter: 'room/open/#', acts: ['receive'] },
        ],
      })
      for (const topic of ['room/closed/1', 'room/open/1', 'room/open', 'room'])
        stage.observer.send(say(topic, { retain: true, payload: 'kept' }))
      await stage.heard()
      const filters = ['devices/me/#', 'room/#', 'room/+/1', 'room/closed/1']
      await expect.poll(() => subscribe(me, filters, 1)).toEqual([1, 1, 1, 1])
      stage.observer.send(say('room/closed/2'), say('room/open/2', { payload: 'live' }))
      expect(new Set(await stage.heardBy(me, 'me'))).toEqual(
        new Set(['room/open kept', 'room/open/1 kept', 'room/open/2 live']),
      )
      for (const topic of ['room/closed/1', 'room/open/1', 'room/open', 'room'])
        stage.observer.send(say(topic, { retain: true, payload: '' }))
      await stage.heard()
    })
  })
})
