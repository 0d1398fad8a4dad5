/**
 * The broker is the attacker, or broken: it says things before CONNACK, in nobody's name, with aliases, or in no MQTT at all. The client hears nothing
 * that it may not, and nothing before CONNACK; the door goes on for the next one.
 */

import type { Socket } from 'node:net'
import { generate, parser, type Packet } from 'mqtt-packet'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { MqttClient } from '../../../support/mqtt-client.ts'
import { openMqttHarness, type MqttHarness } from '../../../support/mqtt-door.ts'
import type { TestLeaf } from '../../../support/pki.ts'
import { scriptedBroker, type ScriptedBroker } from '../../../support/scripted-broker.ts'
import { frame, hex, protocol, section, subscription, text, type Level } from './stage.ts'

type Script = (socket: Socket, packet: Packet, level: 4 | 5) => boolean | void

const bytesOf = (packet: Packet, level: Level): Buffer => generate(packet, { protocolVersion: level })
const connack = (level: Level): Buffer => hex(level === 5 ? '2003000000' : '20020000')
const publish = (topic: string | Uint8Array, level: Level, ...properties: Uint8Array[]): Buffer =>
  frame(0x30, text(topic), ...(level === 5 ? [section(...properties)] : []), Buffer.from('evil'))

describe('a broker that is hostile', () => {
  let broker: ScriptedBroker
  let door: MqttHarness
  let me: TestLeaf
  let script: Script = () => {}
  beforeAll(async () => {
    broker = await scriptedBroker({
      connected: (socket) => {
        let level: 4 | 5 = 4
        let mine = false
        const reader = parser({})
        reader.on('packet', (packet: Packet) => {
          if (packet.cmd === 'connect') {
            level = packet.protocolVersion === 5 ? 5 : 4
            mine = packet.clientId === 'me'
          }
          if (mine && script(socket, packet, level) === true) return
          if (packet.cmd === 'connect') socket.write(connack(level))
          else if (packet.cmd === 'pingreq') socket.write(hex('d000'))
          else if (packet.cmd === 'subscribe')
            socket.write(
              bytesOf(
                {
                  cmd: 'suback',
                  messageId: packet.messageId as number,
                  granted: packet.subscriptions.map(() => 0),
                },
                level,
              ),
            )
        })
        socket.on('data', (bytes: Buffer) => void reader.parse(bytes))
      },
      said: () => {},
    })
    door = await openMqttHarness({ SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${broker.port}` })
    me = await door.device('me')
  })
  afterAll(async () => {
    await door[Symbol.asyncDispose]()
    await broker[Symbol.asyncDispose]()
  })
  beforeEach(() => {
    script = () => {}
  })
  const dial = (level: Level): Promise<MqttClient> => door.dial(me, { version: level })
  const connect = (level: Level): Packet =>
    ({
      cmd: 'connect',
      protocolId: 'MQTT',
      ...protocol(level),
      clientId: 'me',
      clean: true,
      keepalive: 0,
    }) as Packet
  /** what it is given until it ends, or until it has said ping and heard nothing wrong */
  const until = async (client: MqttClient): Promise<Packet[]> => {
    const heard: Packet[] = []
    client.send({ cmd: 'pingreq' })
    for (;;) {
      const packet = await client.next().catch(() => undefined)
      if (packet === undefined || packet.cmd === 'pingresp') return heard
      heard.push(packet)
    }
  }

  describe.each([4, 5] as const)('level %i', (level) => {
    test.each<[string, (level: Level) => Uint8Array]>([
      ['a CONNECT', (at) => bytesOf(connect(at), at)],
      ['nothing that is MQTT', () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
      ['a CONNACK with a body that is none', () => hex('2001 00')],
      ['a CONNACK of a code that is none', (at) => hex(at === 5 ? '2003005500' : '20020077')],
      ['a CONNACK with reserved flags', (at) => hex(at === 5 ? '2003fe0000' : '2002fe00')],
      ['100 MB', () => hex('20ffffff2f00')],
      ['a length of five octets', () => hex('20ffffffff01')],
      ['DISCONNECT', () => hex('e000')],
    ])(
      'that says %s before CONNACK: the client hears CONNACK first, and it is a refusal',
      async (_, bytes) => {
        script = (socket, packet, at) => {
          if (packet.cmd !== 'connect') return false
          socket.write(Buffer.concat([bytes(at), connack(at), publish('devices/me/late', at)]))
          return true
        }
        const client = await dial(level)
        client.send(connect(level))
        const first = await client.next().catch(() => undefined)
        // closed, or refused, and no more than that
        expect([undefined, 'connack']).toContain(first?.cmd)
        await expect.poll(() => client.ended).toBe(true)
        const packets = [...(first === undefined ? [] : [first]), ...(await client.closed())]
        expect(packets.map(({ cmd }) => cmd)).toBeOneOf([['connack'], []])
        for (const packet of packets as { returnCode?: number; reasonCode?: number }[])
          expect(packet.reasonCode ?? packet.returnCode).toBeGreaterThan(0)
        script = () => {}
        using next = await dial(level)
        next.send(connect(level))
        expect(await next.next()).toMatchObject({
          cmd: 'connack',
          ...(level === 5 ? { reasonCode: 0 } : { returnCode: 0 }),
        })
      },
    )

    test('that delivers before CONNACK: the client hears it behind CONNACK, and only what is his', async () => {
      script = (socket, packet, at) => {
        if (packet.cmd !== 'connect') return false
        const [his, others] = [publish('devices/me/x', at), publish('devices/victim/x', at)]
        socket.write(Buffer.concat([others, his, hex('d000')]))
        setImmediate(() => socket.write(Buffer.concat([others, connack(at), others, his])))
        return true
      }
      using client = await dial(level)
      client.send(connect(level))
      expect(await client.next()).toMatchObject({ cmd: 'connack' })
      const heard = [...(await until(client)), ...(await until(client))]
      expect(heard.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []))).toEqual([
        'devices/me/x',
        'devices/me/x',
      ])
    })

    const after = async (bytes: (level: Level) => Uint8Array): Promise<Packet[]> => {
      let said = false
      script = (socket, packet, at) => {
        if (packet.cmd !== 'pingreq') return false
        said = true
        socket.write(Buffer.concat([bytes(at), hex('d000')]))
        return true
      }
      const client = await dial(level)
      client.send(connect(level))
      expect((await client.next()).cmd).toBe('connack')
      const heard = await until(client)
      client[Symbol.dispose]()
      expect(said).toBe(true)
      return heard
    }
    test.each<[string, (level: Level) => Uint8Array]>([
      ['a message that is not his', (at) => publish('devices/victim/x', at)],
      ['one of $SYS', (at) => publish('$SYS/broker/x', at)],
      ['one of our own', (at) => publish('$sallyport/certificates/renew/accepted', at)],
      ['one to a wildcard', (at) => publish('devices/me/#', at)],
      ['one with NUL', (at) => publish('devices/me/\0', at)],
      [
        'one of an overlong slash',
        (at) => publish(Buffer.concat([Buffer.from('devices/me'), hex('c0af')]), at),
      ],
      ['one to nowhere', (at) => publish('', at)],
      [
        'one of QoS 3',
        (at) => frame(0x36, text('devices/me/x'), hex('0001'), ...(at === 5 ? [section()] : [])),
      ],
      [
        'one of id 0',
        (at) => frame(0x32, text('devices/me/x'), hex('0000'), ...(at === 5 ? [section()] : [])),
      ],
      ['100 MB', () => hex('30ffffff2f000c')],
      ['a length of five octets', () => hex('30ffffffff01')],
      ['a second CONNACK', (at) => connack(at)],
      ['a CONNECT', (at) => bytesOf(connect(at), at)],
      ['a SUBSCRIBE', (at) => bytesOf(subscription(['#']), at)],
      ['the reserved type', () => hex('0000')],
    ])('that says %s: nothing of it is heard', async (_, bytes) => {
      const heard = await after(bytes)
      expect(heard.filter(({ cmd }) => cmd !== 'disconnect')).toEqual([])
    })
    test('that answers one SUBSCRIBE with too few codes, or grants what was denied', async () => {
      for (const granted of [[], [0, 0, 0]] as number[][]) {
        script = (socket, packet, at) => {
          if (packet.cmd !== 'subscribe') return false
          const { messageId } = packet
          socket.write(
            frame(
              0x90,
              Buffer.of((messageId as number) >> 8, (messageId as number) & 0xff),
              ...(at === 5 ? [section()] : []),
              Buffer.from(granted),
            ),
          )
          return true
        }
        const client = await dial(level)
        client.send(connect(level))
        await client.until('connack')
        client.send(subscription(['devices/me/#', 'devices/victim/#']))
        const said = granted.length === 0 ? await client.closed() : [await client.until('suback')]
        expect(said.flatMap((packet) => (packet.cmd === 'suback' ? [packet.granted] : []))).toEqual(
          granted.length === 0 ? [] : [[0, level === 5 ? 0x87 : 0x80]],
        )
        client[Symbol.dispose]()
      }
    })
  })

  test('of MQTT 5, with an alias: no message of it is heard', async () => {
    for (const first of ['devices/me/x', 'devices/victim/x']) {
      script = (socket, packet, at) => {
        if (packet.cmd !== 'pingreq') return false
        socket.write(
          Buffer.concat([publish(first, at, hex('23 0001')), publish('', at, hex('23 0001')), hex('d000')]),
        )
        return true
      }
      const client = await dial(5)
      client.send(connect(5))
      await client.until('connack')
      const heard = await until(client)
      expect(heard.filter((packet) => packet.cmd === 'publish')).toEqual([])
    }
  })
  test('of MQTT 5, that says where to go and why: its code goes on, and nothing else of it', async () => {
    script = (socket, packet) => {
      if (packet.cmd !== 'pingreq') return false
      socket.write(
        frame(
          0xe0,
          hex('9d'),
          section(
            Buffer.concat([hex('1c'), text('evil.test:8883')]),
            Buffer.concat([hex('1f'), text('password=secret')]),
            Buffer.concat([hex('26'), text('inner'), text('10.0.0.5')]),
          ),
        ),
      )
      return true
    }
    const client = await dial(5)
    client.send(connect(5))
    await client.until('connack')
    const heard = await until(client)
    expect(heard).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x9d }])
    expect(JSON.stringify(heard)).not.toMatch(/evil|secret|10\.0/)
  })
})
