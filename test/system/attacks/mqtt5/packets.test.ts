/**
 * The attacker says what is no MQTT 5, or what is two things at once: to the door, and to the broker behind it. Packets before CONNACK, second
 * CONNECTs, packets in payloads, lengths that two programs read in two ways. MQTT 3: ../mqtt/frames.ts.
 */

import { generate, type Packet } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MOSQUITTO } from '../../../support/mosquitto.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import {
  ending,
  frame,
  hex,
  openStage,
  say,
  section,
  subscribe,
  subscription,
  text,
  varint,
  type Stage,
} from './stage.ts'

const bytesOf = (packet: Packet): Buffer => generate(packet, { protocolVersion: 5 })
const CONNECT = bytesOf(connectPacket({ protocolVersion: 5, clientId: 'me' }))
const BAD = bytesOf(connectPacket({ protocolVersion: 5, clientId: 'victim' }))
const EVIL = bytesOf(say('devices/victim/x'))
const MINE = (payload: string): Buffer => bytesOf(say('devices/me/x', { payload }))

describe.skipIf(MOSQUITTO === undefined)('packets of MQTT 5', () => {
  let stage: Stage
  let victim: MqttClient
  beforeAll(async () => {
    stage = await openStage('mosquitto', { mqtt: { frame_limit: 16_384, denied_per_minute: 10_000 } })
    victim = await stage.enter('victim')
    await subscribe(victim, ['devices/victim/#'], 1)
  })
  afterAll(() => stage[Symbol.asyncDispose]())
  afterEach(async () => {
    expect(await stage.heardBy(victim, 'victim')).toEqual([])
    // whoever said it is gone, and what reached the broker was his to say
    expect((await stage.heard()).filter((line) => !line.startsWith('devices/me/x'))).toEqual([])
  })

  /** What came back until the door ended the connection. */
  const ends = async (...bytes: readonly Uint8Array[]) => {
    using client = await stage.dial('me')
    client.send(...bytes)
    const { packets, code } = await ending(client)
    return { cmds: packets.map(({ cmd }) => cmd), code, packets }
  }

  describe('before CONNACK', () => {
    test.each<[string, Uint8Array[]]>([
      ['PUBLISH', [EVIL]],
      ['PUBLISH, then CONNECT', [MINE('early'), CONNECT]],
      ['AUTH', [hex('f0021800')]],
      ['AUTH, then CONNECT', [hex('f000'), CONNECT]],
      ['DISCONNECT with a reason', [hex('e00104')]],
      ['SUBSCRIBE', [bytesOf(subscription(['#']))]],
      ['100 MB', [hex('10ffffff2f')]],
      ['the longest there is', [hex('10ffffff7f')]],
      ['a length of five octets', [hex('10ffffffff01')]],
    ])('%s: closed without a word', async (_, bytes) => {
      expect((await ends(...bytes)).cmds).toEqual([])
    })
    test('a CONNECT that is refused takes with it what is behind it', async () => {
      const { cmds, packets } = await ends(BAD, MINE('behind'), EVIL)
      expect(cmds).toEqual(['connack'])
      expect(packets[0]).toMatchObject({ reasonCode: 0x85 })
      expect(await stage.heard()).toEqual([])
    })
    test('what is behind a good one in the same write is judged', async () => {
      using client = await stage.dial('me')
      client.send(CONNECT, EVIL, MINE('1'), bytesOf(subscription(['devices/victim/#', 'devices/me/#'])))
      expect((await client.next()).cmd).toBe('connack')
      expect((await client.until('suback')).granted).toEqual([0x87, 0])
      expect(await stage.heard()).toEqual(['devices/me/x 1'])
    })
    test('nothing is delivered before CONNACK, whatever waits in the session', async () => {
      const kept = { clean: false, properties: { sessionExpiryInterval: 60 } }
      using first = await stage.enter('me', 5, kept)
      await subscribe(first, ['devices/me/#'], 1)
      first.send({ cmd: 'disconnect' })
      await first.closed()
      await expect.poll(() => stage.door.front.size()).toBe(1)
      for (let n = 0; n < 50; n += 1)
        stage.observer.send(say(`devices/me/x${n}`, { qos: 1, messageId: n + 1 }))
      for (let n = 0; n < 50; n += 1) await stage.observer.until('puback')
      using again = await stage.dial('me')
      again.send(connectPacket({ protocolVersion: 5, clientId: 'me', ...kept }))
      expect(await again.next()).toMatchObject({ cmd: 'connack', sessionPresent: true })
      for (let n = 0; n < 50; n += 1) {
        const { topic, messageId } = await again.until('publish')
        expect(topic).toBe(`devices/me/x${n}`)
        again.send({ cmd: 'puback', messageId: messageId as number })
      }
      again.send({ cmd: 'disconnect', properties: { sessionExpiryInterval: 0 } } as Packet)
      await again.closed()
      await stage.heard()
    })
  })

  describe('a CONNECT that is none', () => {
    const connect = (
      properties: Uint8Array,
      o: { flags?: number; more?: Uint8Array[]; id?: Uint8Array } = {},
    ) =>
      frame(
        0x10,
        text('MQTT'),
        Buffer.of(5, o.flags ?? 2, 0, 0),
        properties,
        o.id ?? text('me'),
        ...(o.more ?? []),
      )
    const will = (properties: Uint8Array, topic: Uint8Array = text('devices/me/x')) => ({
      flags: 6,
      more: [properties, topic, text('evil')],
    })
    test.each<[string, Uint8Array]>([
      ['Receive Maximum 0', connect(section(hex('21 0000')))],
      ['Maximum Packet Size 0', connect(section(hex('27 00000000')))],
      ['Session Expiry twice', connect(section(hex('11 0000003c 11 00000000')))],
      ['Request Problem Information 2', connect(section(hex('17 02')))],
      ['Request Response Information 2', connect(section(hex('19 02')))],
      ['authentication data without a method', connect(section(hex('16 0001 00')))],
      ['a property of PUBLISH', connect(section(hex('23 0001')))],
      ['a property of a will', connect(section(hex('18 00000001')))],
      ['a property of nobody', connect(section(hex('55 00')))],
      ['a user property without a value', connect(section(hex('26 0001 61')))],
      ['a user property that is not UTF-8', connect(section(hex('26 0001 ff 0001 61')))],
      ['properties longer than it', connect(hex('7f'))],
      ['a length of five octets', connect(hex('ffffffff01'))],
      ['no properties at all', frame(0x10, text('MQTT'), Buffer.of(5, 2, 0, 0))],
      ['the reserved flag', connect(section(), { flags: 3 })],
      ['a will of QoS 3', connect(section(), { ...will(section()), flags: 0x1e })],
      ['a kept will that is none', connect(section(), { flags: 0x22 })],
      ['a will without properties', connect(section(), { flags: 6, more: [text('devices/me/x'), text('')] })],
      ['a will with Topic Alias', connect(section(), will(section(hex('23 0001'))))],
      ['a will with two delays', connect(section(), will(section(hex('18 00000001 18 00000002'))))],
      ['a will to a wildcard', connect(section(), will(section(), text('devices/me/#')))],
      ['a will to an overlong slash', connect(section(), will(section(), text(hex('6dc0af'))))],
      ['more than it says', connect(section(), { more: [Buffer.from('more')] })],
      ['NUL in the ClientID', connect(section(), { id: text('me\0') })],
      ['a ClientID beyond its end', connect(section(), { id: hex('ffff6d65') })],
      ['5 KiB', connect(section(Buffer.concat([hex('26'), text('a'), text('b'.repeat(5_000))])))],
    ])('%s', async (_, bytes) => {
      const { cmds, packets } = await ends(bytes, MINE('behind'), EVIL)
      expect(cmds.filter((cmd) => cmd !== 'connack')).toEqual([])
      for (const packet of packets) expect(packet).toMatchObject({ reasonCode: expect.any(Number) })
      for (const packet of packets as { reasonCode: number }[])
        expect([0x81, 0x82, 0x85, 0x87, 0x8c, 0x90, 0x95]).toContain(packet.reasonCode)
      expect(await stage.heard()).toEqual([])
    })
  })

  describe('after CONNACK', () => {
    const publish = (...rest: readonly Uint8Array[]): Buffer => frame(0x30, text('devices/me/x'), ...rest)
    test.each<[string, number[], ...Uint8Array[]]>([
      ['a second CONNECT', [0x82], CONNECT],
      ['a second CONNECT, as another', [0x82], BAD],
      ['CONNACK', [0x82, 0x81], hex('2003000000')],
      ['SUBACK', [0x82, 0x81], hex('900400010000')],
      ['UNSUBACK', [0x82, 0x81], hex('b00400010000')],
      ['PINGRESP', [0x82, 0x81], hex('d000')],
      ['AUTH', [0x82], hex('f000')],
      ['AUTH that begins again', [0x82], frame(0xf0, hex('19'), section(hex('15 0001 78')))],
      ['the reserved type', [0x81, 0x82], hex('0000')],
      ['PINGREQ with a body', [0x81, 0x82], hex('c00100')],
      ['QoS 3', [0x81, 0x82], frame(0x36, text('devices/me/x'), hex('0001 00'))],
      ['DUP at QoS 0', [0x81, 0x82], frame(0x38, text('devices/me/x'), hex('00'))],
      ['id 0', [0x81, 0x82], frame(0x32, text('devices/me/x'), hex('0000 00'))],
      ['a topic longer than the packet', [0x81, 0x82], hex('3004ffff6161')],
      ['no properties', [0x81, 0x82], publish()],
      ['properties longer than the packet', [0x81, 0x82], publish(hex('10'))],
      ['properties of five octets’ length', [0x81, 0x82], publish(hex('8080808001'))],
      ['a property that ends beyond them', [0x81, 0x82], publish(hex('03 26 0001'), text('a'))],
      ['100 MB, announced', [0x95], hex('30ffffff2f 000c')],
      ['what is larger than allowed', [0x95], publish(section(), Buffer.alloc(20_000))],
      ['SUBSCRIBE to nothing', [0x81, 0x82], frame(0x82, hex('0001'), section())],
      [
        'SUBSCRIBE with reserved options',
        [0x81, 0x82],
        frame(0x82, hex('0001'), section(), text('devices/me/x'), hex('c0')),
      ],
      [
        'SUBSCRIBE with Retain Handling 3',
        [0x81, 0x82],
        frame(0x82, hex('0001'), section(), text('devices/me/x'), hex('30')),
      ],
      [
        'SUBSCRIBE with identifier 0',
        [0x81, 0x82],
        frame(0x82, hex('0001'), section(hex('0b00')), text('devices/me/x'), hex('00')),
      ],
      [
        'SUBSCRIBE with two identifiers',
        [0x81, 0x82],
        frame(0x82, hex('0001'), section(hex('0b010b02')), text('devices/me/x'), hex('00')),
      ],
      ['UNSUBSCRIBE from nothing', [0x81, 0x82], frame(0xa2, hex('0001'), section())],
      ['PUBACK with a code that is none', [0x81, 0x82], hex('40030001 55')],
      ['PUBREL without its flag', [0x81, 0x82], hex('60020001')],
      ['DISCONNECT that is a server’s (0x8B)', [0x81, 0x82], hex('e0018b')],
      [
        'DISCONNECT that keeps a session which was to end',
        [0x82],
        frame(0xe0, hex('00'), section(hex('11 00000e10'))),
      ],
    ])('%s: the connection ends', async (_, codes, ...bytes) => {
      const { cmds, code, packets } = await ends(CONNECT, ...bytes, EVIL, MINE('behind'))
      expect(packets[0]).toMatchObject({ cmd: 'connack', reasonCode: 0 })
      expect(cmds).toEqual(['connack', 'disconnect'])
      expect(codes).toContain(code)
      expect(await stage.heard()).toEqual([])
    })
  })

  describe('smuggled', () => {
    test('in a payload, whole, doubled and behind half of one', async () => {
      const inner = Buffer.concat([EVIL, EVIL, CONNECT, hex('e000')])
      for (const payload of [
        inner,
        Buffer.concat([EVIL.subarray(3), EVIL]),
        Buffer.concat([hex('00'), EVIL]),
        Buffer.concat([Buffer.alloc(16_000, 0x30), EVIL]),
      ]) {
        using client = await stage.enter('me')
        const whole = bytesOf(say('devices/me/x', { payload: payload }))
        // and in two records that part it before what is inside
        const at = whole.length - payload.length
        client.stream.write(whole.subarray(0, at))
        client.stream.write(whole.subarray(at))
        client.send(MINE('last'))
        await client.ping()
        const heard = await stage.heard()
        expect(heard).toEqual([`devices/me/x ${String(payload)}`, 'devices/me/x last'])
      }
    })
    const holding = (property: Uint8Array): Buffer =>
      frame(0x30, text('devices/me/x'), section(property), Buffer.from('x'))
    test('in the Correlation Data of one', async () => {
      using client = await stage.enter('me')
      client.send(holding(Buffer.concat([hex('09'), text(EVIL)])))
      await client.ping()
      expect(await stage.heard()).toEqual(['devices/me/x x'])
    })
    // which are text, where a packet's own length is no character
    test.each([
      ['Content Type', Buffer.concat([hex('03'), text(EVIL)])],
      ['User Property', Buffer.concat([hex('26'), text('a'), text(EVIL)])],
    ])('in the %s of one', async (_, property) => {
      using client = await stage.enter('me')
      client.send(holding(property))
      expect((await ending(client)).code).toBe(0x81)
      expect(await stage.heard()).toEqual([])
    })
    test('by a length that is longer than it need be (§1.5.5)', async () => {
      const body = Buffer.concat([text('devices/me/x'), section(), Buffer.from('long')])
      for (const length of [
        Buffer.of(body.length | 0x80, 0),
        Buffer.of(body.length | 0x80, 0x80, 0),
        Buffer.of(body.length | 0x80, 0x80, 0x80, 0),
      ]) {
        using client = await stage.enter('me')
        client.send(hex('30'), length, body, MINE('next'))
        expect((await ending(client)).code).toBe(0x81)
        expect(await stage.heard()).toEqual([])
      }
    })
    test('by a length of properties that is longer than it need be', async () => {
      for (const length of [hex('8000'), hex('808000'), hex('80808000')]) {
        using client = await stage.enter('me')
        client.send(frame(0x30, text('devices/me/x'), length, Buffer.from('p')), MINE('next'))
        expect((await ending(client)).code).toBe(0x81)
        expect(await stage.heard()).toEqual([])
      }
    })
    test('half a PUBLISH, and then another connection of mine', async () => {
      using client = await stage.enter('me')
      client.send(MINE('never whole').subarray(0, 12))
      using again = await stage.enter('me')
      again.send(EVIL.subarray(6), MINE('x'))
      await again.closed()
      await client.closed()
      expect(await stage.heard()).toEqual([])
    })
    test('at every place where it can be cut', async () => {
      using client = await stage.enter('me')
      const run = [EVIL, MINE('a'), bytesOf(say('devices/victim/y', { qos: 1, messageId: 3 })), MINE('b')]
      const whole = Buffer.concat(run)
      for (const octet of whole) client.stream.write(Buffer.of(octet))
      for (let at = 1; at < whole.length; at += 1) {
        client.stream.write(whole.subarray(0, at))
        client.stream.write(whole.subarray(at))
      }
      for (let n = 0; n < whole.length; n += 1)
        expect(await client.until('puback')).toMatchObject({ messageId: 3, reasonCode: 0x87 })
      await client.ping()
      const heard = await stage.heard()
      expect(heard).toEqual(
        Array.from({ length: whole.length }, () => ['devices/me/x a', 'devices/me/x b']).flat(),
      )
    })
  })

  test('random octets after CONNACK: nothing of them is heard elsewhere', async () => {
    // the same ones each time
    let seed = 5
    const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) >> 16
    for (let n = 0; n < 40; n += 1) {
      const noise = Buffer.from(Array.from({ length: 60 }, () => random() & 0xff))
      const first = [0x30, 0x32, 0x34, 0x3d, 0x82, 0xa2, 0x62, 0x40][n % 8] as number
      const { cmds } = await ends(CONNECT, Buffer.of(first), varint(noise.length), noise, hex('0000'))
      expect(cmds[0]).toBe('connack')
    }
  })
})
