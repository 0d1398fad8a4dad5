/** Every turn that was due is told of: absent, dropped, or begun and then answered, refused, failed or given up. Also when nothing works. */

import { beforeAll, describe, expect, test } from 'vitest'
import type { FleetEvent, Scenario } from '#device-sim/index.ts'
import {
  connack,
  createWorld,
  httpsServer,
  mqttServer,
  openBroker,
  type World,
} from '../../../support/faulty-servers.ts'
import { outcomes, ran, scenarioOf, type Ran } from './fleet-of.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})

/** the first wait of its first device is short */
const SOON = 'soon35'

const open = (rate: number) => ({ kind: 'open', rate, arrivals: 'constant' }) as const
const MQTT = { doors: { https: 0, mqtt: 1 } } as const
const HTTPS = { doors: { https: 1, mqtt: 0 } } as const
const count = (events: readonly FleetEvent[], kind: FleetEvent['kind']): number =>
  events.filter((event) => event.kind === kind).length

const isBalanced = ({ load, events }: Ran): void =>
  expect(load.absent + load.dropped + outcomes(events)).toBe(load.due)

describe.concurrent.each([0, 1] as const)('MQTT at QoS %d', (qos) => {
  const scenario = (o: Partial<Scenario> = {}): Scenario => {
    const calm = scenarioOf({})
    return scenarioOf({ ...MQTT, duration: 600, load: open(200), mqtt: { ...calm.mqtt, qos }, ...o })
  }

  test.concurrent('a broker that is down: what waited for a connection is dropped', async () => {
    await using broker = await mqttServer(world.tls, (_packet, _reply, socket) => void socket.destroy())
    const targets = { mqtts: `mqtts://localhost:${broker.port}` }
    const run = await ran(world, { scenario: scenario(), targets })
    expect(run.load.due).toBe(120)
    expect(run.load.dropped).toBe(120 - run.load.absent)
    isBalanced(run)
  })

  test.concurrent(
    'one that comes back: what waited goes out late, and says since when it was due',
    async () => {
      let refused = false
      await using broker = await mqttServer(world.tls, (packet, reply, socket) => {
        if (packet.cmd === 'connect') {
          reply(connack(refused ? 0 : 3))
          refused = true
        }
        if (packet.cmd === 'publish' && packet.qos === 1)
          reply({ cmd: 'puback', messageId: packet.messageId ?? 0 })
        if (packet.cmd === 'disconnect') socket.end()
      })
      const targets = { mqtts: `mqtts://localhost:${broker.port}` }
      const { mqtt } = scenario()
      const run = await ran(world, {
        scenario: scenario({
          devices: 1,
          duration: 1_000,
          load: open(50),
          mqtt: { ...mqtt, subscribe: false },
          // for a handshake on a busy machine; it is over when nothing waits any more
          bounds: { revokedWithin: 1_000, drain: 10_000 },
        }),
        // it comes back after half a second
        seed: SOON,
        targets,
      })
      isBalanced(run)
      expect(run.load).toMatchObject({ due: 50, dropped: 0 })
      expect(run.report.published).toBe(50 - run.load.absent)
      const waits = run.events.map((event) => (event.kind === 'published' ? event.millis : 0))
      if (qos === 1) expect(Math.max(...waits)).toBeGreaterThan(400)
    },
  )

  test.concurrent('away, cut off in the middle, and at once at the end', async () => {
    await using broker = await openBroker(world.tls)
    const when = { lasts: undefined, share: 1 }
    const targets = { mqtts: `mqtts://localhost:${broker.port}` }
    const run = await ran(world, {
      scenario: scenario({
        load: open(500),
        timeline: [
          { ...when, kind: 'offline', at: 100, lasts: 200 },
          { ...when, kind: 'reconnect', at: 400 },
        ],
      }),
      targets,
    })
    expect(run.load.due).toBe(300)
    expect(run.load.absent).toBeGreaterThan(0)
    isBalanced(run)
  })
})

test.concurrent('an HTTPS door that takes requests and never answers: given up at the end', async () => {
  await using door = await httpsServer(world.tls, (request) => void request.resume())
  const run = await ran(world, {
    scenario: scenarioOf({ ...HTTPS, duration: 300, load: open(100) }),
    targets: { https: `https://localhost:${door.port}` },
  })
  isBalanced(run)
  expect(run.load.due).toBe(30)
  expect(count(run.events, 'unanswered')).toBe(30 - run.load.absent)
  expect(run.report.errors).toBe(0)
})

test.concurrent('both doors, one of them in flames, and a stop in the middle', async () => {
  let asked = 0
  await using door = await httpsServer(world.tls, (request, response) => {
    request.resume()
    const kind = asked++ % 3
    if (kind === 0) return response.end('ok')
    if (kind === 1) return response.destroy()
    response.writeHead(429, { 'content-type': 'application/problem+json' })
    return response.end('{"reason":"rate_limited"}')
  })
  await using broker = await openBroker(world.tls)
  const stop = new AbortController()
  const run = await ran(world, {
    scenario: scenarioOf({ devices: 6, duration: 600_000, load: open(300) }),
    targets: { https: `https://localhost:${door.port}`, mqtts: `mqtts://localhost:${broker.port}` },
    stop: stop.signal,
    onEvent: () => {
      if (asked > 60) stop.abort()
    },
  })
  isBalanced(run)
  expect(run.report.errors).toBeGreaterThan(0)
  expect(run.report.refused.https).toHaveProperty('rate_limited')
  // nothing was due once it was told to stop: not all of ten minutes
  expect(run.load.due).toBeLessThan(180_000)
})

test('the plan of turns is the same for any number of parts', async () => {
  await using door = await httpsServer(world.tls, (request, response) => {
    request.resume()
    response.end('ok')
  })
  const common = {
    scenario: scenarioOf({
      ...HTTPS,
      devices: 5,
      duration: 1_000,
      load: { kind: 'open', rate: 60, arrivals: 'poisson' },
      bounds: { revokedWithin: 1_000, drain: 10_000 },
    }),
    seed: 'parts',
    targets: { https: `https://localhost:${door.port}` },
  } as const
  /** ms from the start, by device, in order */
  const plan = (runs: readonly Ran[]): ReadonlyMap<string, readonly number[]> => {
    const times = new Map<string, number[]>()
    for (const { events, startsAt } of runs)
      for (const { kind, device, at } of events)
        if (kind === 'admitted') times.set(device, [...(times.get(device) ?? []), at - startsAt])
    for (const each of times.values()) each.sort((a, b) => a - b)
    return times
  }
  const whole = await ran(world, common)
  const parts = await Promise.all([0, 1].map((index) => ran(world, { ...common, part: { index, of: 2 } })))
  const [one, other] = [plan([whole]), plan(parts)]
  expect([...other.keys()].toSorted()).toEqual([...one.keys()].toSorted())
  expect(one.size).toBe(5)
  // but for the very first, which may come before their device: how many, hangs on the machine
  for (const [device, times] of one) {
    const others = other.get(device) ?? []
    const both = Math.min(times.length, others.length)
    expect(both).toBeGreaterThan(0)
    const last = (all: readonly number[]) => all.slice(-both).map((at) => at.toFixed(2))
    expect(last(others)).toEqual(last(times))
  }
})
