/** The attacker is a device and wants the topics of another: to say something there, to hear it, or to be taken for it. An observer sees all. */

import type { IConnectPacket, IPublishPacket, Packet } from 'mqtt-packet'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { DeviceFiles, Fleet } from '../../../support/fleet.ts'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import { as, openMqtt } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const topicAttacks = (given: () => Fleet): void => {
  let fleet: Fleet
  const devices: Record<string, DeviceFiles> = {}
  /** sees everything that the broker is told */
  let observer: MqttClient
  let victim: MqttClient
  const put = (what: string, body: object): Promise<unknown> =>
    fleet.operator.call('PUT', `/v1/${what}`, { body })
  const everything = ['publish', 'subscribe', 'receive']
  const shared = (filters: readonly string[]): Promise<unknown> =>
    put('applications/chat', {
      hostnames: ['chat.test'],
      mqtt: { topics: filters.map((filter) => ({ filter, acts: everything })) },
      policies: ['devices'],
    })

  const join = async (
    id: string,
    over: Partial<IConnectPacket> = {},
    serverName = 'localhost',
  ): Promise<MqttClient> => {
    const client = await openMqtt(fleet.urls.mqtts, { who: as(devices[id] as DeviceFiles), serverName })
    expect(await client.connect({ clientId: id, ...over })).toBe(0)
    return client
  }
  const subscribe = async (
    client: MqttClient,
    filters: readonly string[],
    qos: 0 | 1 = 0,
  ): Promise<number[]> => {
    client.send({ cmd: 'subscribe', messageId: 7, subscriptions: filters.map((topic) => ({ topic, qos })) })
    return (await client.until('suback')).granted.map(Number)
  }
  const say = (topic: string, over: Partial<IPublishPacket> = {}): Packet =>
    ({ cmd: 'publish', topic, payload: 'evil', qos: 0, dup: false, retain: false, ...over }) as Packet

  let marks = 0
  /** What a client has been given until now: all that was said before on connections that have ended or answered since. */
  const heardBy = async (
    client: MqttClient,
    mark = `devices/observer/mark-${++marks}`,
  ): Promise<string[]> => {
    observer.send(say(mark))
    const topics: string[] = []
    for (;;) {
      const packet = await client.until('publish')
      if (packet.topic === mark) return topics
      if (!/\/mark(-\d+)?$/.test(packet.topic)) topics.push(packet.topic)
    }
  }

  /** The same for a session that may have had things waiting for it: also what comes before it has said anything. */
  const heardSinceConnect = async (client: MqttClient, id: string): Promise<string[]> => {
    client.send({ cmd: 'subscribe', messageId: 8, subscriptions: [{ topic: `devices/${id}/#`, qos: 1 }] })
    const early: string[] = []
    for (let packet = await client.next(); packet.cmd !== 'suback'; packet = await client.next())
      if (packet.cmd === 'publish') early.push(packet.topic)
    return [...early, ...(await heardBy(client, `devices/${id}/mark`))]
  }

  beforeAll(async () => {
    fleet = given()
    for (const id of ['me', 'me2', 'victim', 'observer', 'vic.im', 'v.~:-'])
      devices[id] = await fleet.enroll(id)
    const pem = fleet.rootPem
    await put('anchors/watch', { pem, hostnames: ['watch.test', 'chat.test'] })
    await put('policies/watchers', {
      decision: 'non_identity',
      include: [{ common_name: { common_name: 'observer' } }],
    })
    await put('applications/watch', {
      hostnames: ['watch.test'],
      mqtt: { topics: [{ filter: '#', acts: everything }] },
      policies: ['watchers'],
    })
    await shared(['shared/#', 'devices/${device.id}/#'])
    observer = await join('observer', {}, 'watch.test')
    expect(await subscribe(observer, ['#'])).toEqual([0])
    victim = await join('victim')
    expect(await subscribe(victim, ['devices/victim/#', 'fleet/broadcast/#'], 1)).toEqual([1, 1])
  })
  afterAll(async () => {
    observer[Symbol.dispose]()
    victim[Symbol.dispose]()
  })

  const mine = (topic: string): boolean => topic === 'devices/me' || topic.startsWith('devices/me/')
  const FOREIGN: readonly string[] = [
    'devices/victim/x',
    'devices/victim',
    'devices',
    'devices/',
    '/devices/me/x',
    '//devices/me/x',
    'devices//me/x',
    'devices/ME/x',
    'Devices/me/x',
    'DEVICES/ME/X',
    'devices/me2/x',
    'devices/m/x',
    'devices/me /x',
    ' devices/me/x',
    'devices/me%2f/x',
    'devices%2fme/x',
    'devices/+/x',
    'devices/#',
    '#',
    '+',
    '+/+',
    'devices/me/#',
    'devices/me/+',
    '$SYS',
    '$SYS/x',
    '$SYS/broker/clients',
    '$share/g/devices/victim/x',
    '$share/g/devices/me/x',
    '$queue/devices/me/x',
    '$devices/me/x',
    '$',
    '/',
    '//',
    ' ',
    'fleet/broadcast/x',
    'fleet/broadcast',
    'fleet',
    'shared/x',
    'devices/./me/x',
    './devices/me/x',
    '../devices/me/x',
    'devices/x/../me/x',
    'devices\\me\\x',
    '${device.id}',
    'devices/${device.id}/x',
    'devices/*/x',
    'devices/me;x',
    'devices/me\u200d/x',
    'devices/\ufeffme/x',
    '\uff44evices/me/x',
    'devices/m\u0435/x',
    'devices/me\u0301/x',
  ]

  describe('said where it may not be', () => {
    test.each([0, 1, 2] as const)('at QoS %i, kept or not: nobody hears it, then or later', async (qos) => {
      for (const topic of FOREIGN) {
        using me = await join('me')
        me.send(say(topic, { qos, retain: true, ...(qos === 0 ? {} : { messageId: 5 }) }))
        if (qos === 2) me.send({ cmd: 'pubrel', messageId: 5 })
        // whatever the door does about it, it has done it when this is answered or the connection has ended
        me.send({ cmd: 'pingreq' })
        await me.until('pingresp').catch(() => undefined)
      }
      using good = await join('me')
      good.send(say('devices/me/ok'), say('devices/me/../victim/x'), say('devices/me'), { cmd: 'pingreq' })
      await good.until('pingresp')
      expect(await heardBy(observer)).toEqual(['devices/me/ok', 'devices/me/../victim/x', 'devices/me'])
      expect(await heardBy(victim, `devices/victim/mark-${++marks}`)).toEqual([])
      using late = await join('observer', {}, 'watch.test')
      const before = observer
      observer = late
      await subscribe(late, ['#', 'devices/+/#', 'fleet/broadcast/#'])
      const kept = await heardBy(late)
      observer = await join('observer', {}, 'watch.test')
      before[Symbol.dispose]()
      expect(await subscribe(observer, ['#'])).toEqual([0])
      expect(kept).toEqual([])
    })

    test('as a will', async () => {
      for (const topic of FOREIGN) {
        const me = await openMqtt(fleet.urls.mqtts, { who: as(devices['me'] as DeviceFiles) })
        await me.connect({
          clientId: 'me',
          will: { topic, payload: Buffer.from('evil'), qos: 0, retain: true },
        })
        me[Symbol.dispose]()
      }
      const good = await join('me', {
        will: { topic: 'devices/me/will', payload: Buffer.from('x'), qos: 0, retain: false },
      })
      good[Symbol.dispose]()
      const heard: string[] = []
      while (!heard.includes('devices/me/will')) heard.push(...(await heardBy(observer)))
      expect(heard.filter((topic) => !mine(topic))).toEqual([])
    })

    test('in the second half of a message whose first half was good', async () => {
      using me = await join('me')
      const half = (messageId: number, topic: string, dup = false): Packet =>
        say(topic, { qos: 2, messageId, dup })
      me.send(half(1, 'devices/me/half'), half(1, 'devices/victim/x', true), { cmd: 'pubrel', messageId: 1 })
      me.send(
        { cmd: 'pubrel', messageId: 9 },
        { cmd: 'pubrec', messageId: 1 },
        { cmd: 'pubcomp', messageId: 1 },
        { cmd: 'pingreq' },
      )
      await me.until('pingresp').catch(() => undefined)
      expect((await heardBy(observer)).filter((topic) => !mine(topic))).toEqual([])
    })

    test('under another name, or none', async () => {
      const me = devices['me'] as DeviceFiles
      for (const over of [
        { username: 'victim' },
        { username: 'victim', password: Buffer.from('x') },
        { clientId: '' },
        { bridgeMode: true },
        { protocolId: 'MQIsdp', protocolVersion: 3 },
      ] as Partial<IConnectPacket>[]) {
        using client = await openMqtt(fleet.urls.mqtts, { who: as(me) })
        if ((await client.connect({ clientId: 'me', ...over })) !== 0) continue
        client.send(say('devices/victim/x'), { cmd: 'pingreq' })
        await client.until('pingresp').catch(() => undefined)
      }
      expect(await heardBy(observer)).toEqual([])
    })
  })

  describe('heard where it may not be', () => {
    const filters: readonly string[] = [
      ...FOREIGN.filter((topic) => !/^(fleet\/broadcast.*|devices\/me\/[#+])$/.test(topic)),
      '+/#',
      '/#',
      'devices/+/#',
      'devices/+',
      '+/me/#',
      '+/+/#',
      'devices/victim/#',
      'devices/victim/+',
      'devices/me2/#',
      'devices/me+',
      'devices/me#',
      'devices/me/#/x',
      'devices/+me/x',
      'fleet/#',
      'fleet/+',
      'fleet/+/x',
      'fleet/+/#',
      '+/broadcast/#',
      '$SYS/#',
      '$SYS/+/#',
      '$+/#',
      '$share/g/devices/victim/#',
      '$share/g/#',
      '$share/g/$SYS/#',
      '$share//devices/me/#',
      '$share/+/devices/victim/#',
      '$share/devices/victim/#',
      '$share/#/devices/me',
      '$share',
      '$share/g',
      '$SHARE/g/#',
      '$share/g/$share/g/#',
      '$queue/#',
    ]
    test('no filter is granted that is not mine alone, and none gives anything', async () => {
      const granted: string[] = []
      for (const filter of filters) {
        using me = await join('me')
        me.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] })
        const codes = await me.until('suback').then(
          (packet) => packet.granted.map(Number),
          () => [],
        )
        // a share of what is mine is mine: it may be granted
        if (codes.some((code) => code < 0x80) && filter !== '$share/g/devices/me/x') granted.push(filter)
      }
      expect(granted).toEqual([])
    })

    test('one bad filter among good ones takes nothing with it, and gains nothing', async () => {
      using me = await join('me')
      expect(await subscribe(me, ['devices/me/#', 'devices/victim/#', 'fleet/broadcast/#', '#'])).toEqual([
        0, 0x80, 0, 0x80,
      ])
      observer.send(say('devices/victim/secret'), say('fleet/secret'), say('fleet/broadcast/all'))
      expect(await heardBy(me, 'devices/me/mark')).toEqual(['fleet/broadcast/all'])
      await heardBy(observer)
      expect(await heardBy(victim, `devices/victim/mark-${++marks}`)).toEqual([
        'devices/victim/secret',
        'fleet/broadcast/all',
      ])
    })

    test.each(['vic.im', 'v.~:-'])('by a name that reads like a pattern: %s', async (id) => {
      using client = await join(id)
      expect(await subscribe(client, [`devices/${id}/#`, 'devices/victim/#', 'devices/vicXim/#'])).toEqual([
        0, 0x80, 0x80,
      ])
      client.send(say(`devices/${id}/x`), { cmd: 'pingreq' })
      await client.until('publish')
      client.send(say('devices/victim/x'))
      await client.closed()
      expect(await heardBy(observer)).toEqual([`devices/${id}/x`])
    })

    test(
      'where I was once allowed: a subscription ends with the permission',
      { timeout: 20_000 },
      async () => {
        using me = await join('me', {}, 'chat.test')
        expect(await subscribe(me, ['shared/#', 'devices/me/#'])).toEqual([0, 0])
        observer.send(say('shared/first'))
        expect(await heardBy(me, 'devices/me/mark')).toEqual(['shared/first'])
        await shared(['devices/${device.id}/#'])
        const started = performance.now()
        for (let n = 0; ; n += 1) {
          observer.send(say(`shared/later-${n}`))
          if ((await heardBy(me, 'devices/me/mark')).length === 0) break
        }
        expect(performance.now() - started).toBeLessThan(1_000)
        await shared(['shared/#', 'devices/${device.id}/#'])
        await heardBy(observer)
      },
    )

    test('by a session from a host where it was allowed, at one where it is not', async () => {
      const there = await join('me', { clean: false }, 'chat.test')
      expect(await subscribe(there, ['shared/#'], 1)).toEqual([1])
      there.send({ cmd: 'disconnect' })
      await there.closed()
      observer.send(say('shared/queued', { qos: 1, messageId: 9 }))
      await observer.until('puback')
      using here = await join('me', { clean: false })
      expect(await heardSinceConnect(here, 'me')).toEqual([])
      await heardBy(observer)
      using clean = await join('me')
      await clean.ping()
    })
  })

  describe('being taken for another', () => {
    beforeEach(() => victim.ping())
    test.each([
      'victim',
      'VICTIM',
      'victim ',
      ' victim',
      'victim/x',
      'me/../victim',
      'me,victim',
      'victim\u200d',
      'observer',
      'me2',
      'ME',
      'x'.repeat(1_000),
    ])('ClientID %j is not mine', async (clientId) => {
      using me = await openMqtt(fleet.urls.mqtts, { who: as(devices['me'] as DeviceFiles) })
      expect(await me.connect({ clientId })).toBe(2)
      await victim.ping()
      expect(victim.ended).toBe(false)
    })

    test('an empty one is me or refused', async () => {
      using me = await openMqtt(fleet.urls.mqtts, { who: as(devices['me'] as DeviceFiles) })
      const code = await me.connect({ clientId: '' })
      expect(code).toBeOneOf([0, 2])
      if (code === 0) expect(await subscribe(me, ['devices/me/#', 'devices/victim/#'])).toEqual([0, 0x80])
    })

    test('a second connection of mine ends my first, and nobody else’s', async () => {
      using first = await join('me')
      using second = await join('me')
      await first.closed()
      await second.ping()
      await victim.ping()
      await observer.ping()
    })
  })

  describe('revoked, and back', () => {
    test('cut, without its last will, and the session of before is nobody’s', async () => {
      devices['back'] = await fleet.enroll('back')
      const will = { topic: 'devices/back/will', payload: Buffer.from('x'), qos: 0 as const, retain: false }
      const before = await join('back', { clean: false, will }, 'chat.test')
      expect(await subscribe(before, ['shared/#'], 1)).toEqual([1])
      await fleet.operator.call('POST', '/v1/devices/back/revoke')
      await before.closed()
      observer.send(say('shared/for-the-old-one', { qos: 1, messageId: 3 }))
      await observer.until('puback')
      devices['back'] = await fleet.enroll('back')
      using after = await openMqtt(fleet.urls.mqtts, { who: as(devices['back']), serverName: 'chat.test' })
      after.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: false,
        clientId: 'back',
        keepalive: 0,
      })
      const { returnCode, sessionPresent } = await after.until('connack')
      expect([returnCode, sessionPresent, await heardSinceConnect(after, 'back')]).toEqual([0, false, []])
      expect(await heardBy(observer)).not.toContain('devices/back/will')
    })

    test('away while it is revoked: what was queued for it is gone too', async () => {
      devices['away'] = await fleet.enroll('away')
      const before = await join('away', { clean: false }, 'chat.test')
      expect(await subscribe(before, ['shared/#'], 1)).toEqual([1])
      before.send({ cmd: 'disconnect' })
      await before.closed()
      observer.send(say('shared/queued', { qos: 1, messageId: 4 }))
      await observer.until('puback')
      await fleet.operator.call('POST', '/v1/devices/away/revoke')
      devices['away'] = await fleet.enroll('away')
      using after = await openMqtt(fleet.urls.mqtts, { who: as(devices['away']), serverName: 'chat.test' })
      after.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: false,
        clientId: 'away',
        keepalive: 0,
      })
      const { returnCode, sessionPresent } = await after.until('connack')
      expect([returnCode, sessionPresent, await heardSinceConnect(after, 'away')]).toEqual([0, false, []])
    })
  })
}
