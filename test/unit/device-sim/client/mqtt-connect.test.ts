import type { Packet } from 'mqtt-packet'
import { beforeAll, describe, expect, test } from 'vitest'
import { clientContext } from '#device-sim/client/connection.ts'
import { createMeter } from '#device-sim/client/meter.ts'
import type { LinkFault } from '#device-sim/client/link.ts'
import { mqttConnect, type MqttLink, type MqttOptions } from '#device-sim/client/mqtt-connect.ts'
import { createRandom } from '#device-sim/random.ts'
import { pause } from '#device-sim/waiting.ts'
import {
  connack,
  createWorld,
  mqttServer,
  openBroker,
  suback,
  type World,
} from '../../../support/faulty-servers.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})

const knock = (port: number, o: Partial<MqttOptions> = {}) =>
  mqttConnect({
    url: `mqtts://localhost:${port}`,
    context: clientContext({ rootPem: world.ca.rootPem }),
    clientId: 'pump-7',
    ...o,
  })

const linkOf = async (port: number, o: Partial<MqttOptions> = {}): Promise<MqttLink> => {
  const outcome = await knock(port, o)
  if (!outcome.accepted) throw new Error(`refused: ${outcome.code}`)
  return outcome.link
}

describe('CONNECT', () => {
  test.each([1, 2, 3, 4, 5])('CONNACK %d is an outcome with that code', async (code) => {
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd === 'connect') reply(connack(code))
    })
    expect(await knock(server.port)).toMatchObject({ accepted: false, code, resumed: false })
  })

  test.each([0x84, 0x87, 0x95])('and so is one of MQTT 5: %d', async (code) => {
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd === 'connect') reply(connack(code))
    })
    expect(await knock(server.port, { version: 5 })).toMatchObject({ accepted: false, code })
  })

  test.each<[Partial<MqttOptions>, { readonly clean: boolean; readonly [field: string]: unknown }]>([
    [{}, { protocolVersion: 4, clean: true, keepalive: 60 }],
    [
      { clean: false, keepalive: 0 },
      { protocolVersion: 4, clean: false, keepalive: 0 },
    ],
    [{ version: 5 }, { protocolVersion: 5, clean: true }],
    [
      { version: 5, clean: false, keepalive: 5, username: 'u', password: 'p' },
      { protocolVersion: 5, clean: false, keepalive: 5, properties: { sessionExpiryInterval: 86_400 } },
    ],
  ])('%j is what CONNECT says', async (o, expected) => {
    const said = Promise.withResolvers<Packet>()
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd !== 'connect') return
      said.resolve(packet)
      reply(connack(0, !packet.clean))
    })
    const outcome = await knock(server.port, o)
    expect(await said.promise).toMatchObject({ clientId: 'pump-7', ...expected })
    expect(outcome).toMatchObject({ accepted: true, sessionPresent: !expected.clean })
    expect(outcome.millis).toBeGreaterThan(0)
    if (outcome.accepted) await outcome.link.close()
  })

  test('a broker that never acknowledges, nor closes, is left all the same', async () => {
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd === 'connect') reply(connack(0))
    })
    const outcome = await knock(server.port)
    if (!outcome.accepted) throw new Error('not let in')
    const under = outcome.link.publish('a', 'x')
    await outcome.link.close()
    expect(await under).toBe('cut')
  })

  test('closed without a CONNACK has no code', async () => {
    await using server = await mqttServer(world.tls, (_packet, _reply, socket) => socket.destroy())
    expect(await knock(server.port)).toMatchObject({ accepted: false, code: undefined })
  })

  test('no CONNACK in time, and the signal, end it the same way', async () => {
    await using server = await mqttServer(world.tls, () => {})
    expect(await knock(server.port, { timeout: 300 })).toMatchObject({ accepted: false, code: undefined })
    const signal = AbortSignal.timeout(100)
    expect(await knock(server.port, { signal })).toMatchObject({ accepted: false, code: undefined })
  })

  test.each(['in place of CONNACK', 'after it'])(
    'a packet of 256 MB %s: cut off after a few',
    async (when) => {
      const poured = Buffer.alloc(65_536, 'a')
      let octets = 0
      const over = Promise.withResolvers<void>()
      await using server = await mqttServer(world.tls, (packet, reply, socket) => {
        if (packet.cmd !== 'connect') return
        if (when === 'after it') reply(connack(0))
        socket.write(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f))
        const pour = (): void => {
          while (!socket.destroyed && octets < 100_000_000) {
            octets += poured.length
            if (!socket.write(poured)) return void socket.once('drain', pour)
          }
        }
        socket.once('close', () => over.resolve())
        pour()
      })
      const outcome = await knock(server.port)
      if (outcome.accepted) await outcome.link.closed
      else expect(outcome.code).toBeUndefined()
      await over.promise
      expect(octets).toBeLessThan(32_000_000)
    },
  )

  test('nobody there is target_unreachable', async () => {
    await expect(knock(1)).rejects.toMatchObject({ code: 'target_unreachable' })
  })

  test('a second connection is a second full handshake', async () => {
    await using server = await openBroker(world.tls)
    const meter = createMeter()
    for (let turn = 0; turn < 2; turn++) await (await linkOf(server.port, { meter })).close()
    expect(meter.figures()).toMatchObject({ handshakes: 2, resumed: 0 })
  })
})

describe('a connection', () => {
  test('publishes, subscribes and is delivered to', async () => {
    await using server = await openBroker(world.tls)
    const heard = Promise.withResolvers<string>()
    const onMessage = (topic: string, payload: Buffer) => heard.resolve(`${topic} ${payload.toString()}`)
    await using link = await linkOf(server.port, { onMessage })
    expect(await link.subscribe('devices/pump-7/#')).toBe(1)
    expect(await link.publish('devices/pump-7/x', 'hello')).toBe('done')
    expect(await link.publish('devices/pump-7/x', 'hello', 0)).toBe('done')
    expect(await heard.promise).toBe('devices/pump-7/x hello')
    expect(link.isOpen()).toBe(true)
  })

  test('a token in a CONNACK, a topic, a payload or a property is seen, and its own messages hold none', async () => {
    const jwt = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`
    const topics = ['devices/pump-7/a', `devices/pump-7/${jwt}`, 'devices/pump-7/b', 'devices/pump-7/c']
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd !== 'connect') return
      reply({ ...connack(0), properties: { reasonString: jwt } } as Packet)
      topics.forEach((topic, at) =>
        reply({
          cmd: 'publish',
          qos: 0,
          dup: false,
          retain: false,
          topic,
          payload: at === 2 ? `x ${jwt}` : 'x',
          ...(at === 3 && { properties: { userProperties: { a: jwt } } }),
        }),
      )
    })
    const meter = createMeter()
    const all = Promise.withResolvers<void>()
    let heard = 0
    const onMessage = () => (++heard === topics.length ? all.resolve() : undefined)
    await using _ = await linkOf(server.port, { version: 5, meter, onMessage })
    await all.promise
    const url = `mqtts://localhost:${server.port}`
    expect(meter.figures().tokenEvidence).toEqual(
      ['header reasonstring', 'header topic', 'body', 'header userproperties'].map((at) => `${url}: ${at}`),
    )
  })

  test('a burst arrives whole and in order, among the packets of mqtt.js', async () => {
    for (const version of [4, 5] as const) {
      const heard: string[] = []
      const all = Promise.withResolvers<void>()
      await using server = await mqttServer(world.tls, (packet, reply) => {
        if (packet.cmd === 'connect') reply(connack(0))
        if (packet.cmd !== 'publish') return
        heard.push(`${packet.topic} ${packet.payload.toString().slice(0, 10)}`)
        if (packet.qos > 0) reply({ cmd: 'puback', messageId: packet.messageId ?? 0 })
        if (heard.length === 404) all.resolve()
      })
      const link = await linkOf(server.port, { version })
      const expected: string[] = []
      const under: Promise<unknown>[] = []
      for (let turn = 0; turn < 4; turn++) {
        const payloads = Array.from({ length: 100 }, (_, at) =>
          Buffer.alloc(turn * 2_000 + 10, `${turn}.${at};`),
        )
        under.push(
          link.burst('devices/pump-7/burst', payloads),
          link.publish('devices/pump-7/one', `${turn}`),
        )
        for (const payload of payloads)
          expected.push(`devices/pump-7/burst ${payload.toString('latin1', 0, 10)}`)
        expected.push(`devices/pump-7/one ${turn}`)
      }
      expect(new Set(await Promise.all(under))).toEqual(new Set(['done']))
      await all.promise
      expect(heard).toEqual(expected)
      await link.close()
      expect(await link.burst('a', [Buffer.of(1)])).toBe('cut')
      expect(() => link.burst('', [])).toThrow(RangeError)
    }
  })

  test('a burst waits for room, and is cut like anything else', async () => {
    await using server = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd !== 'connect') return
      reply(connack(0))
      socket.pause()
    })
    const link = await linkOf(server.port)
    const much = Array.from({ length: 64 }, () => Buffer.alloc(1 << 20))
    const burst = link.burst('a', much)
    expect(await Promise.race([burst, pause(20)])).toBeUndefined()
    link.drop()
    expect(await burst).toBe('cut')
  })

  test('a socket that is full is listened to once, however many wait', async () => {
    await using server = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd !== 'connect') return
      reply(connack(0))
      socket.pause()
    })
    const warned: Error[] = []
    const onWarning = (warning: Error): void => void warned.push(warning)
    process.on('warning', onWarning)
    const link = await linkOf(server.port)
    const bursts = Array.from({ length: 30 }, () => link.burst('a', [Buffer.alloc(1 << 20)]))
    await pause(20)
    link.drop()
    expect(new Set(await Promise.all(bursts))).toContain('cut')
    process.off('warning', onWarning)
    expect(warned).toEqual([])
  })

  test.each([4, 5] as const)(
    'MQTT %d: said to be sent again, a PUBLISH has DUP and its identifier',
    async (version) => {
      const heard: Packet[] = []
      await using server = await mqttServer(world.tls, (packet, reply) => {
        if (packet.cmd === 'connect') reply(connack(0))
        if (packet.cmd === 'subscribe') reply(suback(packet.messageId, 1))
        if (packet.cmd !== 'publish') return
        heard.push(packet)
        if (packet.qos > 0) reply({ cmd: 'puback', messageId: packet.messageId ?? 0 })
      })
      await using link = await linkOf(server.port, { version })
      await link.subscribe('a')
      await Promise.all([
        link.publish('a', '1', 1, { id: 500, dup: true }),
        link.publish('a', '2', 1, { id: 65_535, dup: false }),
        link.publish('a', '3'),
        link.publish('a', '4', 0),
      ])
      expect(heard.map((packet) => packet.cmd === 'publish' && [packet.dup, packet.messageId])).toEqual([
        [true, 500],
        [false, 65_535],
        [false, 2],
        [false, undefined],
      ])
    },
  )

  test('dropping says nothing', async () => {
    const said: string[] = []
    const ended = Promise.withResolvers<void>()
    await using server = await mqttServer(world.tls, (packet, reply, socket) => {
      said.push(packet.cmd)
      if (packet.cmd === 'connect') reply(connack(0))
      socket.once('close', () => ended.resolve())
    })
    const link = await linkOf(server.port)
    link.drop()
    await Promise.all([link.closed, ended.promise])
    expect(said).toEqual(['connect'])
    expect(link.isOpen()).toBe(false)
    expect(link.ended.aborted).toBe(true)
  })

  test('a connection whose link dies says nothing, and goes on when it comes back', async () => {
    await using server = await openBroker(world.tls)
    const dead: LinkFault = {
      delay: 0,
      jitter: 0,
      loss: 0,
      halfOpen: true,
      slowHandshake: 0,
      random: createRandom('seed', 'mqtt'),
    }
    let fault: LinkFault | undefined
    const link = await linkOf(server.port, { link: () => fault })
    expect(await link.publish('a', 'x')).toBe('done')
    fault = dead
    const under = link.publish('a', 'y')
    expect(await Promise.race([under, link.closed, pause(50)])).toBeUndefined()
    expect(link.isOpen()).toBe(true)
    fault = undefined
    expect(await under).toBe('done')
    await link.close()
  })

  test('a refused SUBSCRIBE gives the code on the wire and stands', async () => {
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd === 'connect') reply(connack(0))
      if (packet.cmd === 'subscribe') reply(suback(packet.messageId, 0x80))
    })
    await using link = await linkOf(server.port)
    expect(await link.subscribe('#')).toBe(0x80)
    expect(link.isOpen()).toBe(true)
  })

  test.each([
    [5, 0x00, 'done'],
    // no matching subscribers: not a refusal
    [5, 0x10, 'done'],
    [5, 0x80, 0x80],
    [5, 0x87, 0x87],
    [5, 0x97, 0x97],
  ] as const)('MQTT %d: PUBACK %d is %s', async (version, reasonCode, expected) => {
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd === 'connect') reply(connack(0))
      if (packet.cmd === 'publish') reply({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode })
    })
    await using link = await linkOf(server.port, { version })
    expect(await link.publish('a', Buffer.from('x'))).toBe(expected)
    expect(link.isOpen()).toBe(true)
  })

  test('what was under way when it is cut is cut, and so is what comes after', async () => {
    await using server = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd === 'connect') reply(connack(0))
      if (packet.cmd === 'publish') socket.destroy()
    })
    const link = await linkOf(server.port)
    const asked = [link.subscribe('a'), link.publish('a', 'x'), link.publish('b', 'y')]
    expect(await Promise.all(asked)).toEqual(['cut', 'cut', 'cut'])
    await link.closed
    expect(link.ended.aborted).toBe(true)
    expect(await link.publish('a', 'x')).toBe('cut')
    expect(await link.subscribe('a')).toBe('cut')
    await link.close()
  })

  test('closing says DISCONNECT', async () => {
    const said: string[] = []
    await using server = await mqttServer(world.tls, (packet, reply, socket) => {
      said.push(packet.cmd)
      if (packet.cmd === 'connect') reply(connack(0))
      if (packet.cmd === 'disconnect') socket.end()
    })
    await (await linkOf(server.port)).close()
    expect(said).toEqual(['connect', 'disconnect'])
  })

  test('closing ends also when the other side does not answer', async () => {
    await using server = await mqttServer({ ...world.tls }, (packet, reply) => {
      if (packet.cmd === 'connect') reply(connack(0))
    })
    const link = await linkOf(server.port)
    await link.close()
    expect(link.isOpen()).toBe(false)
  })

  test('the signal ends it', async () => {
    await using server = await openBroker(world.tls)
    const stop = new AbortController()
    const link = await linkOf(server.port, { signal: stop.signal })
    stop.abort()
    await link.closed
    expect(link.isOpen()).toBe(false)
  })
})
