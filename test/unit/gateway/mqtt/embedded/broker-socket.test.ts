/** The socket by which workers reach the embedded broker: who may come, what is read of what they say, and that a ClientID is held once. */

import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { generate, type IPublishPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSocketUpstream } from '#gateway/mqtt/brokers/socket-upstream.ts'
import { createDiscard } from '#gateway/mqtt/discard.ts'
import { openBrokerSocket } from '#gateway/mqtt/embedded/broker-socket.ts'
import { openEmbeddedBroker, type EmbeddedBroker } from '#gateway/mqtt/embedded/broker.ts'
import { createHolders, type Holder, type Holders } from '#gateway/mqtt/holders.ts'
import type { LinkEvents, Upstream } from '#gateway/mqtt/upstream.ts'
import { linkClient } from '../../../../support/broker-link.ts'
import { mqttClient, type MqttClient } from '../../../../support/mqtt-client.ts'
import { temporaryFolder } from '../../../../support/temporary.ts'

const log = { info: () => {}, warn: () => {} }

let folder: ReturnType<typeof temporaryFolder>
let path: string
let broker: EmbeddedBroker
let holders: Holders
let socket: AsyncDisposable | undefined
beforeEach(async () => {
  folder = temporaryFolder()
  path = join(folder.path, 'run', 'broker.sock')
  broker = await openEmbeddedBroker({
    frameLimit: 262_144,
    clock: () => 0,
    log,
    dropped: () => {},
    expired: () => {},
  })
  holders = createHolders(createDiscard(broker))
  socket = undefined
})
afterEach(async () => {
  await socket?.[Symbol.asyncDispose]()
  await broker[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const open = async (): Promise<void> => {
  socket = await openBrokerSocket({ path, upstream: broker, holders, log })
}
const dial = async (): Promise<MqttClient> => {
  const stream = connect(path)
  await once(stream, 'connect')
  return mqttClient(stream)
}
const enter = async (over: Parameters<MqttClient['connect']>[0] = {}): Promise<MqttClient> => {
  const client = await dial()
  expect(await client.connect(over)).toBe(0)
  return client
}
const publish = (over: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic: 't',
  payload: 'x',
  qos: 0,
  retain: false,
  dup: false,
  ...over,
})
const listener = async (topic = 't'): Promise<MqttClient> => {
  const client = await enter({ clientId: 'listener' })
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 0 }] })
  await client.until('suback')
  return client
}
const CONNECT = generate({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clean: true,
  clientId: 'slow',
  keepalive: 0,
})
/** Has the broker done with whoever had this ClientID? */
const isFree = (id: string): boolean => {
  let free = false
  const holder: Holder = {
    fingerprint: undefined,
    arrivedAt: 0,
    ready: () => {
      free = true
    },
    superseded: () => {},
    unavailable: () => {},
  }
  holders.claim(id, holder)
  holders.release(id, holder)
  return free
}
const will = { topic: 't', payload: Buffer.from('will'), qos: 0 as const, retain: false }

describe('its place', () => {
  test('is made for its own user alone', async () => {
    await open()
    expect([statSync(join(folder.path, 'run')).mode & 0o777, statSync(path).mode & 0o777]).toEqual([
      0o700, 0o600,
    ])
    await socket?.[Symbol.asyncDispose]()
    expect(existsSync(path)).toBe(false)
  })

  test('may hold a socket that a dead process has left', async () => {
    await open()
    const script = `require('net').createServer().listen(${JSON.stringify(`${path}2`)}, () => process.kill(process.pid, 'SIGKILL'))`
    const { spawn } = await import('node:child_process')
    await once(spawn(process.execPath, ['-e', script]), 'exit')
    expect(statSync(`${path}2`).isSocket()).toBe(true)
    await socket?.[Symbol.asyncDispose]()
    path = `${path}2`
    await open()
    await enter()
  })

  test.each<readonly [string, () => void | Promise<unknown>, RegExp]>([
    [
      'a folder in which others may write',
      () => {
        mkdirSync(join(folder.path, 'run'))
        chmodSync(join(folder.path, 'run'), 0o777)
      },
      /may be written by others/,
    ],
    [
      'something that is no socket',
      () => {
        mkdirSync(join(folder.path, 'run'))
        writeFileSync(path, 'mine')
      },
      /no socket/,
    ],
    [
      'a socket on which somebody listens',
      () => {
        mkdirSync(join(folder.path, 'run'))
        const other = createServer().listen(path)
        other.unref()
        return once(other, 'listening')
      },
      /another process listens/,
    ],
    [
      'a name that is too long',
      () => {
        path = join(folder.path, 'x'.repeat(120))
      },
      /longer than 107/,
    ],
  ])('is refused: %s', async (_, prepare, detail) => {
    await prepare()
    await expect(open()).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringMatching(detail),
    })
  })
})

describe('a connection', () => {
  beforeEach(open)

  test.each<readonly [string, Buffer]>([
    ['no CONNECT', Buffer.from([0x30, 3, 0, 1, 0x74])],
    ['a length of five digits', Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 1])],
    ['too large', Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])],
    ['a CONNECT that is none', Buffer.from([0x10, 4, 0, 1, 0x74, 9])],
  ])('that says nonsense is closed: %s', async (_, bytes) => {
    const client = await dial()
    client.stream.write(bytes)
    expect(await client.closed()).toEqual([])
  })

  test('may say its CONNECT a byte at a time, and the rest with it', async () => {
    const hears = await listener()
    const client = await dial()
    const all = Buffer.concat([CONNECT, generate(publish({ payload: 'behind it' }))])
    for (const byte of all) client.stream.write(Buffer.of(byte))
    expect(await hears.until('publish')).toMatchObject({ payload: Buffer.from('behind it') })
  })

  test('may say before it how many connections its identity has: so many sessions may be kept', async () => {
    const upstream = openSocketUpstream({ path })
    const visit = async (id: string, connections: number): Promise<void> => {
      const client = linkClient(upstream, id, connections)
      expect(await client.connect({ clientId: id, clean: false })).toBe(0)
      await client.end('finish')
      await expect.poll(() => isFree(id)).toBe(true)
    }
    for (let at = 0; at < 18; at++) await visit(`one@${at}`, 1)
    for (let at = 0; at < 18; at++) await visit(`five@${at}`, 5)
    expect([broker.sessionsOf('one').length, broker.sessionsOf('five').length]).toEqual([16, 18])
    await upstream[Symbol.asyncDispose]()
  })

  test.each([
    ['a byte at a time', 1],
    ['with the CONNECT', 100],
  ])('may say it %s', async (_, step) => {
    const client = await dial()
    const bytes = Buffer.concat([Buffer.of(0, 5), CONNECT])
    for (let at = 0; at < bytes.length; at += step) client.stream.write(bytes.subarray(at, at + step))
    expect(await client.next()).toMatchObject({ cmd: 'connack', returnCode: 0 })
  })

  test('that breaks publishes the will, and one that takes its leave does not', async () => {
    const hears = await listener()
    const good = await enter({ clientId: 'good', will })
    good.send({ cmd: 'disconnect' })
    good.stream.end()
    await good.closed()
    const bad = await enter({ clientId: 'bad', will: { ...will, payload: Buffer.from('bad') } })
    bad.stream.destroy()
    expect(await hears.until('publish')).toMatchObject({ payload: Buffer.from('bad') })
    expect(await hears.ping()).toEqual([])
  })

  test('takes its ClientID from whoever has it, in this process too', async () => {
    const said: string[] = []
    const holder = {
      fingerprint: undefined,
      arrivedAt: 0,
      ready: () => said.push('ready'),
      superseded: () => {
        said.push('superseded')
        setImmediate(() => holders.release('lamp-1', holder))
      },
      unavailable: () => {},
    }
    holders.claim('lamp-1', holder)
    const first = await enter()
    expect(said).toEqual(['ready', 'superseded'])
    const second = await enter()
    expect(await first.closed()).toEqual([])
    expect(await second.ping()).toEqual([])
  })

  test('carries more than any buffer, both ways, in order', async () => {
    const hears = await listener()
    const client = await enter({ clientId: 'big' })
    const payloads = Array.from({ length: 60 }, (_, at) => Buffer.alloc(100_000, at))
    hears.stream.pause()
    for (const payload of payloads.slice(0, 20)) client.send(publish({ payload }))
    hears.stream.resume()
    for (const payload of payloads.slice(20)) client.send(publish({ payload }))
    await client.ping()
    const got: number[] = []
    for (let at = 0; at < 60; at++) {
      const { payload } = await hears.until('publish')
      got.push((payload as Buffer)[0] ?? -1)
      expect(payload).toHaveLength(100_000)
    }
    expect(got).toEqual(Array.from({ length: 60 }, (_, at) => at))
  })

  test('ends with the gateway', async () => {
    const client = await enter()
    await socket?.[Symbol.asyncDispose]()
    expect(await client.closed()).toEqual([])
  })
})

test('a worker that is killed leaves no timer behind, however late the broker has done with its clients', async () => {
  let events: LinkEvents | undefined
  const upstream: Upstream = {
    ...broker,
    open: (on) => {
      events = on
      return { write: () => true, pause: () => {}, resume: () => {}, end: () => {} }
    },
  }
  const timers = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length
  const mine = await openBrokerSocket({ path, upstream, holders, log })
  const worker = connect(path)
  worker.write(CONNECT)
  await expect.poll(() => events).toBeDefined()
  worker.destroy()
  await once(worker, 'close')
  // the other end hears of it when something is to be said to it
  const gone = mine[Symbol.asyncDispose]()
  events?.data(Buffer.from('x'))
  await gone
  const before = timers()
  events?.closed()
  expect(timers()).toBe(before)
})
