import { beforeAll, describe, expect, test } from 'vitest'
import { clientContext } from '#device-sim/client/connection.ts'
import { createMeter } from '#device-sim/client/meter.ts'
import { mqttConnect, type MqttLink } from '#device-sim/client/mqtt-connect.ts'
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

const knock = (port: number, o: object = {}) =>
  mqttConnect({
    url: `mqtts://localhost:${port}`,
    context: clientContext({ rootPem: world.ca.rootPem }),
    clientId: 'pump-7',
    ...o,
  })

const linkOf = async (port: number, o: object = {}): Promise<MqttLink> => {
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

  test('a refused SUBSCRIBE gives the code on the wire and stands', async () => {
    await using server = await mqttServer(world.tls, (packet, reply) => {
      if (packet.cmd === 'connect') reply(connack(0))
      if (packet.cmd === 'subscribe') reply(suback(packet.messageId, 0x80))
    })
    await using link = await linkOf(server.port)
    expect(await link.subscribe('#')).toBe(0x80)
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
