import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../../../support/scripted-upstream.ts'

/** What is thrown while one connection is served is its end, and nobody else's: not of the process, and not of its ClientID. */

let upstream: ScriptedUpstream
let front: Front
let witness: MqttClient
const open = async (over: Parameters<typeof openFront>[0] = {}): Promise<void> => {
  upstream = scriptedUpstream()
  front = await openFront({ makeUpstream: () => Promise.resolve(upstream), ...over })
  witness = await front.enter('witness', { protocolVersion: 5 })
}
beforeEach(() => open())
afterEach(() => front[Symbol.asyncDispose]())

const boom = (): never => {
  throw new Error('boom')
}
const turns = async (): Promise<void> => {
  for (let at = 0; at < 5; at++) await new Promise(setImmediate)
}
const enter = (over = {}): Promise<MqttClient> => front.enter('lamp-1', { protocolVersion: 5, ...over })
const say = {
  cmd: 'publish',
  topic: 'devices/lamp-1/x',
  payload: 'x',
  qos: 0,
  dup: false,
  retain: false,
} as const
const delivery = '30 14 0010 6465766963 65732f6c616d702d312f78 00 78'
const changed = (): void => front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])

const errors = (): unknown[] => front.log.filter(({ level }) => level === 'error')

/** nothing is left of it, and it may come again */
const isOver = async (): Promise<void> => {
  await vi.waitUntil(() => front.open === 1)
  await turns()
  expect(errors()).toMatchObject([{ door: 'mqtt', reason: 'internal', err: { message: 'boom' } }])
  expect(witness.ended).toBe(false)
  expect(front.live.size()).toBe(1)
  const again = front.dial('lamp-1', { version: 5 })
  expect(await again.connect()).toBe(0)
}

test.each<[string, (client: MqttClient) => void]>([
  [
    'a packet of the client',
    (client) => {
      vi.spyOn(front.admission, 'judgeTopics').mockImplementationOnce(boom)
      client.send(say)
    },
  ],
  [
    'a packet of the broker',
    () => {
      vi.spyOn(front.admission, 'judgeTopics').mockImplementationOnce(boom)
      upstream.links.at(-1)?.say(delivery)
    },
  ],
  [
    'a change',
    () => {
      vi.spyOn(front.admission, 'judge').mockImplementationOnce(boom)
      changed()
    },
  ],
])('%s', async (_, act) => {
  const client = await enter()
  act(client)
  expect(await client.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x80 }])
  await isOver()
})

test('CONNECT, of which nothing is known yet', async () => {
  vi.spyOn(front.admission, 'judge').mockImplementationOnce(boom)
  const client = front.dial('lamp-1', { version: 5 })
  client.send(connectPacket({ protocolVersion: 5 }))
  expect(await client.closed()).toEqual([])
  await isOver()
})

test('the way to the broker', async () => {
  vi.spyOn(upstream, 'open').mockImplementationOnce(boom)
  const client = front.dial('lamp-1', { version: 5 })
  expect(await client.connect()).toBe(0x80)
  await isOver()
})

test('another connection that comes for its ClientID, and gets it', async () => {
  await enter()
  vi.spyOn(front.tally, 'ended').mockImplementationOnce(boom)
  expect(await front.dial('lamp-1', { version: 5 }).connect()).toBe(0)
  expect(errors()).toHaveLength(1)
})

test('the gateway’s end: the others hear of it', async () => {
  const client = await enter()
  vi.spyOn(front.tally, 'ended').mockImplementationOnce(boom)
  front.live.drain()
  expect(await client.closed()).toMatchObject([{ reasonCode: 0x8b }])
  expect(await witness.closed()).toMatchObject([{ reasonCode: 0x80 }])
  expect(front.open).toBe(0)
})

test('its own end: the rest of it is done all the same', async () => {
  let calm = true
  const forget = (): void => void (calm || boom())
  await front[Symbol.asyncDispose]()
  await open({ sleepers: { sleep: forget, wake: () => undefined, forget } })
  const client = await enter()
  calm = false
  client[Symbol.dispose]()
  await vi.waitUntil(() => front.open === 1)
  calm = true
  await isOver()
})
