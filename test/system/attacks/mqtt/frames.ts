/** The attacker says to the MQTT door what is no MQTT: bent, cut, oversize or in the wrong order. It ends his connection, promptly, and nobody else's. */

import { generate } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceFiles, Fleet } from '../../../support/fleet.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { as, openMqtt, PROMPT, type Who } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const frameAttacks = (given: () => Fleet): void => {
  let fleet: Fleet
  let who: Who
  let bystander: MqttClient
  const enter = async (device: DeviceFiles): Promise<MqttClient> => {
    const client = await openMqtt(fleet.urls.mqtts, { who: as(device) })
    expect(await client.connect({ clientId: device.deviceId })).toBe(0)
    return client
  }
  let me: DeviceFiles
  beforeAll(async () => {
    fleet = given()
    me = await fleet.enroll('me')
    who = as(me)
    bystander = await enter(await fleet.enroll('bystander'))
    bystander.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: 'devices/bystander/#', qos: 0 }],
    })
    await bystander.until('suback')
  })
  afterAll(async () => {
    bystander[Symbol.dispose]()
  })
  // whoever is well-behaved has noticed nothing, and heard nothing
  afterEach(async () => {
    expect(await bystander.ping()).toEqual([])
  })

  const text = (value: string | Uint8Array): Buffer => {
    const bytes = Buffer.from(value as string)
    return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes])
  }
  const frame = (first: number, ...body: readonly Uint8Array[]): Buffer => {
    const content = Buffer.concat(body)
    const length: number[] = []
    for (let rest = content.length; ;) {
      length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
      rest >>= 7
      if (rest === 0) break
    }
    return Buffer.concat([Buffer.of(first, ...length), content])
  }
  type Bent = {
    name?: string
    level?: number
    flags?: number
    id?: string | Uint8Array
    more?: Uint8Array
    first?: number
  }
  const connect = ({
    name = 'MQTT',
    level = 4,
    flags = 2,
    id = 'me',
    more = Buffer.alloc(0),
    first = 0x10,
  }: Bent = {}): Buffer => frame(first, text(name), Buffer.of(level, flags, 0, 0), text(id), more)
  const good = connect()
  const publish = (topic: string | Uint8Array, flags = 0, more: Uint8Array = Buffer.from('x')): Buffer =>
    frame(0x30 | flags, text(topic), more)
  const hex = (value: string): Buffer => Buffer.from(value.replaceAll(' ', ''), 'hex')

  /** Everything that came before the door ended the connection, and how long that took. */
  const ends = async (...bytes: readonly Uint8Array[]): Promise<{ codes: number[]; ms: number }> => {
    const started = performance.now()
    using client = await openMqtt(fleet.urls.mqtts, { who })
    client.stream.on('error', () => undefined)
    client.send(...bytes)
    const packets = await client.closed()
    return {
      codes: packets.flatMap((packet) =>
        packet.cmd === 'connack' ? [packet.returnCode ?? packet.reasonCode ?? -1] : [],
      ),
      ms: performance.now() - started,
    }
  }

  describe('before CONNECT', () => {
    const isClosed = async (_: string, bytes: Uint8Array): Promise<void> => {
      const { codes, ms } = await ends(bytes)
      expect(codes).toEqual([])
      expect(ms).toBeLessThan(PROMPT)
    }
    test.each<[string, Uint8Array]>([
      ['PUBLISH', publish('devices/bystander/x')],
      ['PUBLISH, then CONNECT', Buffer.concat([publish('devices/bystander/x'), good])],
      ['SUBSCRIBE', hex('82 06 0001 0001 23 00')],
      ['PINGREQ', hex('c000')],
      ['DISCONNECT', hex('e000')],
      ['CONNACK', hex('20020000')],
      ['PUBACK', hex('40020001')],
      ['AUTH', hex('f000')],
      ['the reserved type 0', hex('0000')],
      ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
      ['zeros', Buffer.alloc(2_000)],
      ['ones', Buffer.alloc(2_000, 0xff)],
      ['256 MB announced', hex('10 ffffff7f 0004')],
      ['256 MB announced, as a PUBLISH', hex('30 ffffff7f 0004')],
      ['a length of five octets', hex('10 ffffffff7f')],
      ['a CONNECT of 5 KiB', connect({ id: 'x'.repeat(5_000) })],
      [
        'a CONNECT of 5 KiB, by its will',
        connect({ flags: 6, more: Buffer.concat([text('devices/me/w'), text('x'.repeat(5_000))]) }),
      ],
    ])('%s', isClosed)
    // each is waited for, until its time is up
    test.concurrent.each<[string, Uint8Array]>([
      ['only a length', hex('10 10')],
      ['half a CONNECT', good.subarray(0, 9)],
      ['nothing', Buffer.alloc(0)],
    ])('%s', isClosed)
  })

  describe('a CONNECT that is none', () => {
    test.each<[string, Uint8Array]>([
      ['another protocol', connect({ name: 'HTTP' })],
      ['another case', connect({ name: 'mqtt' })],
      ['no protocol', connect({ name: '' })],
      ['MQIsdp 4', connect({ name: 'MQIsdp' })],
      ['MQTT 3', connect({ level: 3 })],
      ['level 0', connect({ level: 0 })],
      ['level 6', connect({ level: 6 })],
      ['level 255', connect({ level: 255 })],
      ['the reserved flag', connect({ flags: 3 })],
      ['a will of QoS 3', connect({ flags: 0x1e, more: Buffer.concat([text('devices/me/w'), text('x')]) })],
      ['QoS of no will', connect({ flags: 0x0a })],
      ['a kept will that is none', connect({ flags: 0x22 })],
      ['a password without a user', connect({ flags: 0x42, more: text('x') })],
      ['a user that is not there', connect({ flags: 0x82 })],
      ['a will that is not there', connect({ flags: 6 })],
      ['more than it says', connect({ more: Buffer.from('more') })],
      ['reserved bits in its first octet', connect({ first: 0x1f })],
      ['NUL in the ClientID', connect({ id: 'me\0' })],
      ['a ClientID that is not UTF-8', connect({ id: hex('6d65ff') })],
      ['a ClientID of an overlong octet', connect({ id: hex('6d c1a5') })],
      ['a ClientID of half a surrogate pair', connect({ id: hex('6d65 eda080') })],
      ['a length that is too short', Buffer.concat([hex('10 04'), good.subarray(2)])],
      ['a ClientID longer than the packet', frame(0x10, text('MQTT'), hex('04 02 0000 ffff 6d65'))],
      ['no ClientID in a session that is kept', connect({ id: '', flags: 0 })],
      ['a will to a wildcard', connect({ flags: 6, more: Buffer.concat([text('devices/me/#'), text('x')]) })],
      ['a will to nowhere', connect({ flags: 6, more: Buffer.concat([text(''), text('x')]) })],
      [
        'MQTT 5 with properties that end beyond it',
        frame(0x10, text('MQTT'), hex('05 02 0000 ffffff7f'), text('me')),
      ],
    ])('%s', async (_, bytes) => {
      const { codes, ms } = await ends(bytes)
      expect(codes).not.toContain(0)
      expect(ms).toBeLessThan(PROMPT)
    })

    test('MQTT 5 hears in its own words that it is not spoken', async () => {
      using client = await openMqtt(fleet.urls.mqtts, { who })
      const heard: Buffer[] = []
      client.stream.on('data', (chunk: Buffer) => heard.push(chunk))
      client.send(frame(0x10, text('MQTT'), hex('05 02 0000 00'), text('me')))
      await client.closed()
      expect(Buffer.concat(heard).toString('hex')).toBe('2003008400')
    })
  })

  describe('after CONNECT', () => {
    test.each<[string, Uint8Array]>([
      ['CONNECT again', good],
      ['CONNECT again, as another', connect({ id: 'bystander' })],
      ['CONNACK', hex('20020000')],
      ['SUBACK', hex('9003000100')],
      ['UNSUBACK', hex('b0020001')],
      ['PINGRESP', hex('d000')],
      ['AUTH', hex('f000')],
      ['the reserved type 0', hex('0000')],
      ['PINGREQ with a body', hex('c00100')],
      ['PINGREQ with flags', hex('c100')],
      ['DISCONNECT with flags', hex('e100')],
      ['PUBREL without its flag', hex('60020001')],
      ['PUBACK with flags', hex('4f020001')],
      ['PUBACK of one octet', hex('400100')],
      ['PUBLISH of QoS 3', publish('devices/me/x', 6, hex('000178'))],
      ['PUBLISH, QoS 1, id 0', publish('devices/me/x', 2, hex('000078'))],
      ['PUBLISH, QoS 1, without an id', publish('devices/me/x', 2, Buffer.alloc(0))],
      ['PUBLISH to nowhere', publish('')],
      ['PUBLISH to a wildcard', publish('devices/me/#')],
      ['PUBLISH, NUL in its topic', publish('devices/me/\0')],
      ['PUBLISH, a topic that is not UTF-8', publish(Buffer.concat([Buffer.from('devices/me/'), hex('ff')]))],
      [
        'PUBLISH, an overlong slash in its topic',
        publish(Buffer.concat([Buffer.from('devices/me'), hex('c0af')])),
      ],
      [
        'PUBLISH, a surrogate in its topic',
        publish(Buffer.concat([Buffer.from('devices/me/'), hex('eda080')])),
      ],
      ['PUBLISH, a topic longer than the packet', hex('30 04 ffff 6161')],
      ['PUBLISH without anything', hex('3000')],
      ['PUBLISH of 300 KiB', publish('devices/me/x', 0, Buffer.alloc(300 * 1_024))],
      ['256 MB announced', hex('30 ffffff7f 000c')],
      ['a length of five octets', hex('30 ffffffff01 00')],
      ['a topic of 60,000 levels', publish('a/'.repeat(30_000))],
      ['SUBSCRIBE to nothing', hex('82 02 0001')],
      ['SUBSCRIBE with id 0', hex('82 06 0000 0001 61 00')],
      ['SUBSCRIBE with QoS 3', frame(0x82, hex('0001'), text('devices/me/x'), hex('03'))],
      ['SUBSCRIBE with reserved bits', frame(0x82, hex('0001'), text('devices/me/x'), hex('fc'))],
      ['SUBSCRIBE without its flag', frame(0x80, hex('0001'), text('devices/me/x'), hex('00'))],
      ['SUBSCRIBE to NUL', frame(0x82, hex('0001'), text('devices/me/\0'), hex('00'))],
      ['SUBSCRIBE without a QoS', frame(0x82, hex('0001'), text('devices/me/x'))],
      ['UNSUBSCRIBE from nothing', hex('a2 02 0001')],
      ['UNSUBSCRIBE without its flag', frame(0xa0, hex('0001'), text('devices/me/x'))],
    ])('%s', async (_, bytes) => {
      const { codes, ms } = await ends(good, bytes)
      expect(codes).toEqual([0])
      expect(ms).toBeLessThan(PROMPT)
    })

    test('20,000 filters in one SUBSCRIBE: answered or ended, and the door lives', async () => {
      using client = await enter(me)
      client.send(
        frame(
          0x82,
          hex('0001'),
          ...Array.from({ length: 20_000 }, (_, n) => Buffer.concat([text(`d/${n}`), hex('00')])),
        ),
      )
      await client.until('suback').catch(() => undefined)
    })

    test('20,000 second halves of messages that never had a first', async () => {
      using client = await enter(me)
      client.send(
        Buffer.concat(
          Array.from({ length: 20_000 }, (_, n) => Buffer.of(0x62, 2, (n + 1) >> 8, (n + 1) & 0xff)),
        ),
      )
      client.send({ cmd: 'pingreq' })
      await client.until('pingresp').catch(() => undefined)
    })

    test(
      '20,000 first halves without a second: the door lives, and so do I when I come back',
      { timeout: 30_000 },
      async () => {
        using client = await enter(me)
        for (let n = 1; n <= 20_000; n += 1)
          client.send(publish('devices/me/x', 4, Buffer.of(n >> 8, n & 0xff, 0x78)))
        client.send({ cmd: 'pingreq' })
        await client.until('pingresp').catch(() => undefined)
        using again = await enter(me)
        await again.ping()
      },
    )
  })

  test('octet by octet a good client is served all the same', async () => {
    using client = await openMqtt(fleet.urls.mqtts, { who })
    for (const octet of generate(connectPacket({ clientId: 'me' }))) client.send(Buffer.of(octet))
    expect((await client.until('connack')).returnCode).toBe(0)
    const all = Buffer.concat([
      frame(0x82, hex('0001'), text('devices/me/#'), hex('00')),
      publish('devices/me/slow', 0, Buffer.from('whole')),
    ])
    for (const octet of all) client.send(Buffer.of(octet))
    await client.until('suback')
    expect(String((await client.until('publish')).payload)).toBe('whole')
  })

  test(
    'one that does not read what it asked for is not kept alive at the cost of others',
    { timeout: 30_000 },
    async () => {
      using deaf = await enter(me)
      deaf.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'devices/me/#', qos: 0 }] })
      await deaf.until('suback')
      deaf.stream.pause()
      const flood = publish('devices/me/flood', 0, Buffer.alloc(100_000, 0x61))
      for (let n = 0; n < 300 && !deaf.stream.destroyed; n += 1) deaf.send(flood)
      const started = performance.now()
      for (let n = 0; n < 20; n += 1) {
        bystander.send({
          cmd: 'publish',
          topic: 'devices/bystander/x',
          payload: String(n),
          qos: 0,
          dup: false,
          retain: false,
        })
        expect(String((await bystander.until('publish')).payload)).toBe(String(n))
      }
      expect(performance.now() - started).toBeLessThan(PROMPT)
    },
  )
}
