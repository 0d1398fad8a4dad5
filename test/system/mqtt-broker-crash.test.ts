/**
 * The embedded broker, killed under load and started again, several times: what it acknowledged arrives, at QoS 2 once, in order; subscriptions,
 * sessions and retained messages are there. Over its socket, as workers come to it.
 */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { generate, parser, type Packet } from 'mqtt-packet'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../support/temporary.ts'

const KILLS = 2
/** acknowledgements between two kills */
const BURST = 300
const WINDOW = 40
/** Of QoS 1, which is far faster, once it is so many acknowledgements ahead: a session away keeps 10,000 messages, and what more comes is dropped. */
const SLOW_WINDOW = 2
const AHEAD = 1_000

const start = async (folder: string): Promise<ChildProcess> => {
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, '../support/broker-process.ts'),
      join(folder, 'broker.sqlite'),
      join(folder, 'sock'),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

type Say = (...packets: readonly Packet[]) => void
type Handler = (packet: Packet, say: Say) => void

const dial = async (folder: string, clientId: string, clean: boolean, on: Handler): Promise<Socket> => {
  const socket = connect(join(folder, 'sock'))
  socket.on('error', () => {})
  await once(socket, 'connect')
  const reader = parser()
  const say: Say = (...packets) => {
    if (packets.length > 0 && !socket.destroyed)
      socket.write(Buffer.concat(packets.map((packet) => generate(packet))))
  }
  const accepted = new Promise<void>((resolve) => {
    reader.on('packet', (packet: Packet) => {
      if (packet.cmd === 'connack') resolve()
      on(packet, say)
    })
  })
  socket.on('data', (bytes: Buffer) => reader.parse(bytes))
  say({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean, clientId, keepalive: 0 })
  await accepted
  return socket
}

/** A publisher that remembers, as a good client does: what is not acknowledged is sent again, with its id. */
const createPublisher = (topic: string, qos: 1 | 2, window: () => number = () => WINDOW) => {
  const open = new Map<number, { readonly number: number; received: boolean; sent: boolean }>()
  const acknowledged = new Set<number>()
  let number = 0
  let lastId = 0
  let stopped = false
  const publish = (id: number): Packet => {
    const entry = open.get(id)
    if (entry === undefined) throw new Error('not open')
    if (entry.received) return { cmd: 'pubrel', messageId: id }
    const dup = entry.sent
    entry.sent = true
    return { cmd: 'publish', topic, payload: String(entry.number), qos, messageId: id, retain: false, dup }
  }
  const more = (): Packet[] => {
    const packets: Packet[] = []
    while (open.size < window() && !stopped) {
      do lastId = (lastId % 500) + 1
      while (open.has(lastId))
      open.set(lastId, { number: ++number, received: false, sent: false })
      packets.push(publish(lastId))
    }
    return packets
  }
  return {
    acknowledged,
    open,
    stop: () => {
      stopped = true
    },
    on: ((packet, say) => {
      const id = packet.messageId ?? 0
      const entry = open.get(id)
      if (packet.cmd === 'connack') say(...[...open.keys()].map(publish), ...more())
      else if (packet.cmd === 'pubrec' && entry !== undefined) {
        entry.received = true
        // from here on it is the broker's
        acknowledged.add(entry.number)
        say({ cmd: 'pubrel', messageId: id })
      } else if ((packet.cmd === 'puback' || packet.cmd === 'pubcomp') && entry !== undefined) {
        open.delete(id)
        acknowledged.add(entry.number)
        say(...more())
      }
    }) satisfies Handler,
  }
}

/** A subscriber that remembers, too: at QoS 2 which ids have come and are not released. */
const createSubscriber = () => {
  const got: Record<string, number[]> = { one: [], two: [] }
  const unreleased = new Set<number>()
  return {
    got,
    on: ((packet, say) => {
      const id = packet.messageId ?? 0
      if (packet.cmd === 'publish') {
        if (packet.qos === 2) {
          if (!unreleased.has(id)) got['two']?.push(Number(packet.payload.toString()))
          unreleased.add(id)
          say({ cmd: 'pubrec', messageId: id })
        } else {
          got['one']?.push(Number(packet.payload.toString()))
          say({ cmd: 'puback', messageId: id })
        }
      } else if (packet.cmd === 'pubrel') {
        unreleased.delete(id)
        say({ cmd: 'pubcomp', messageId: id })
      }
    }) satisfies Handler,
  }
}

/** in the order in which they came first */
const firsts = (numbers: readonly number[]): number[] => [...new Set(numbers)]
const isRising = (numbers: readonly number[]): boolean =>
  numbers.every((number, at) => at === 0 || number > (numbers[at - 1] as number))

test('killed under load, nothing that was acknowledged is lost, nothing of QoS 2 comes twice', async () => {
  using folder = temporaryFolder()
  const { path } = folder
  const two = createPublisher('two', 2)
  const one = createPublisher('one', 1, () =>
    one.acknowledged.size < two.acknowledged.size + AHEAD ? WINDOW : SLOW_WINDOW,
  )
  const [here, away] = [createSubscriber(), createSubscriber()]
  let child = await start(path)
  try {
    for (const [id, subscriber] of [
      ['here', here],
      ['away', away],
    ] as const) {
      const subscribed = Promise.withResolvers<void>()
      const socket = await dial(path, id, false, (packet, say) => {
        if (packet.cmd === 'suback') subscribed.resolve()
        else subscriber.on(packet, say)
      })
      const subscriptions = [
        { topic: 'one', qos: 1 as const },
        { topic: 'two', qos: 2 as const },
      ]
      socket.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions }))
      await subscribed.promise
      socket.end()
      await once(socket, 'close')
    }
    const retained = Promise.withResolvers<void>()
    const keeper = await dial(path, 'keeper', true, (packet) => {
      if (packet.cmd === 'puback') retained.resolve()
    })
    keeper.write(
      generate({
        cmd: 'publish',
        topic: 'state',
        payload: 'kept',
        qos: 1,
        messageId: 1,
        retain: true,
        dup: false,
      }),
    )
    await retained.promise

    for (let kill = 0; kill < KILLS; kill++) {
      await dial(path, 'here', false, here.on)
      await dial(path, 'p1', false, one.on)
      await dial(path, 'p2', false, two.on)
      const goal = (kill + 1) * BURST
      await expect
        .poll(() => Math.min(one.acknowledged.size, two.acknowledged.size), { timeout: 20_000, interval: 5 })
        .toBeGreaterThan(goal)
      // under way at both
      expect(Math.min(one.open.size, two.open.size)).toBeGreaterThan(0)
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
      child = await start(path)
    }
    one.stop()
    two.stop()
    await dial(path, 'p1', false, one.on)
    await dial(path, 'p2', false, two.on)
    await expect.poll(() => one.open.size + two.open.size, { timeout: 20_000 }).toBe(0)
    await dial(path, 'here', false, here.on)
    await dial(path, 'away', false, away.on)
    for (const subscriber of [here, away]) {
      const all = (topic: 'one' | 'two'): Set<number> => new Set(subscriber.got[topic])
      await expect.poll(() => one.acknowledged.isSubsetOf(all('one')), { timeout: 20_000 }).toBe(true)
      await expect.poll(() => two.acknowledged.isSubsetOf(all('two')), { timeout: 20_000 }).toBe(true)
      expect(subscriber.got['two']).toHaveLength(all('two').size)
      expect(isRising(subscriber.got['two'] ?? [])).toBe(true)
      expect(isRising(firsts(subscriber.got['one'] ?? []))).toBe(true)
    }
    const heard = Promise.withResolvers<string>()
    const late = await dial(path, 'late', true, (packet) => {
      if (packet.cmd === 'publish' && packet.retain) heard.resolve(packet.payload.toString())
    })
    late.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'state', qos: 1 }] }))
    expect(await heard.promise).toBe('kept')
  } finally {
    child.kill('SIGKILL')
  }
})
