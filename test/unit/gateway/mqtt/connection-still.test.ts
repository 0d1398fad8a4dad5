import { generate, type IPublishPacket } from 'mqtt-packet'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Timed, Timers } from '#gateway/mqtt/timers.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../../../support/scripted-upstream.ts'

/** A connection that stands still, because the broker does not go on or because its client does not read, has an end by a clock; the test's own. */

let upstream: ScriptedUpstream
let front: Front
let now: number
let waits: Set<Timed>
const open = async (mqtt: NonNullable<Parameters<typeof openFront>[0]>['mqtt'] = {}): Promise<void> => {
  now = 0
  waits = new Set()
  const timers: Timers = {
    now: () => now,
    by: (timed) => void waits.add(timed),
    drop: (timed) => void waits.delete(timed),
    [Symbol.dispose]: () => {},
  }
  upstream = scriptedUpstream()
  front = await openFront({ makeUpstream: () => Promise.resolve(upstream), timers, mqtt })
}
const pass = (ms: number): void => {
  now += ms
  for (const timed of waits) timed.ring(now)
}
beforeEach(() => open({ denied_per_minute: 1e9, receive_maximum: 1 }))
afterEach(() => front[Symbol.asyncDispose]())

const publish = (messageId: number, topic = 'devices/lamp-1/x'): IPublishPacket => ({
  cmd: 'publish',
  topic,
  payload: 'x',
  qos: 1,
  messageId,
  dup: false,
  retain: false,
})
const published = (): number => upstream.links[0]?.said.filter(({ cmd }) => cmd === 'publish').length ?? 0

const said = (): unknown => front.log.findLast(({ msg }) => msg === 'closed')?.['reason']

/** answers of the door are waiting for it, and it is not listened to */
const deafen = async (client: MqttClient): Promise<void> => {
  front.admission.rules = [{ filter: 'elsewhere', acts: ['publish'] }]
  client.stream.pause()
  const many = Buffer.concat(
    Array.from({ length: 1_000 }, (_, at) => generate(publish(at + 1), { protocolVersion: 5 })),
  )
  let full = false
  while (!full) {
    const before = front.tally.up.packets[3]
    client.stream.write(many)
    for (let at = 0; at < 40; at++) await new Promise(setImmediate)
    full = front.tally.up.packets[3] === before
  }
}

test.each([
  ['its keep-alive is over', 1, 1_501],
  ['a minute is over, without a keep-alive', 0, 60_001],
])('a client that does not read what it is answered has an end: when %s', async (_, keepalive, after) => {
  const client = await front.enter('lamp-1', { protocolVersion: 5, keepalive })
  await deafen(client)
  pass(after - 2)
  expect(front.open).toBe(1)
  pass(2)
  expect(front.open).toBe(0)
  expect(said()).toBe('request_timeout')
  expect(upstream.links[0]?.endings).toEqual(['abort'])
})

test('one that reads again goes on', async () => {
  const client = await front.enter('lamp-1', { protocolVersion: 5, keepalive: 0 })
  await deafen(client)
  pass(59_000)
  client.stream.resume()
  client.send({ cmd: 'pingreq' })
  await vi.waitUntil(() => upstream.links[0]?.said.at(-1)?.cmd === 'pingreq')
  pass(59_000)
  expect(front.open).toBe(1)
})

test('a broker that does not acknowledge has a minute, and its client too, which may have gone', async () => {
  const client = await front.enter('lamp-1', { keepalive: 1 })
  client.send(publish(1), publish(2))
  await vi.waitUntil(() => published() === 1)
  client.stream.end()
  // silence is not the client's now
  pass(59_999)
  expect(front.open).toBe(1)
  pass(2)
  expect(front.open).toBe(0)
  expect(said()).toBe('target_unreachable')
})

test('and a minute for each of them', async () => {
  const client = await front.enter('lamp-1', { keepalive: 0 })
  for (let at = 1; at < 5; at++) {
    client.send(publish(at))
    await vi.waitUntil(() => published() === at)
    pass(59_000)
    upstream.links[0]?.say(`4002${at.toString(16).padStart(4, '0')}`)
    await client.until('puback')
  }
  expect(front.open).toBe(1)
})

test('a broker has mqtt.upstream_timeout for its CONNACK', async () => {
  await front[Symbol.asyncDispose]()
  await open({ upstream_timeout: 100 })
  upstream.answer = () => undefined
  const client = front.dial('lamp-1')
  client.send(connectPacket())
  await vi.waitUntil(() => upstream.links.length === 1)
  pass(99)
  expect(front.open).toBe(1)
  pass(1)
  expect(await client.closed()).toMatchObject([{ cmd: 'connack', returnCode: 3 }])
})

test('but who waits for a ClientID has longer: the one before may be stuck', async () => {
  await front[Symbol.asyncDispose]()
  await open({ upstream_timeout: 100 })
  upstream.closes = false
  await front.enter('lamp-1')
  const second = front.dial('lamp-1')
  second.send(connectPacket())
  await vi.waitUntil(() => upstream.links[0]?.endings.length === 1)
  pass(8_000)
  upstream.links[0]?.close()
  expect(await second.until('connack')).toMatchObject({ returnCode: 0 })
})
