/** A whole fleet at once: no more connections of one process are opening than it can work at, and what waits for it is its own delay. */

import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Enrolled, Scenario } from '#device-sim/index.ts'
import { createWorld, type World } from '../../../support/faulty-servers.ts'
import { ran, scenarioOf, type Ran } from './fleet-of.ts'

const DEVICES = 100
let world: World
let given: readonly Enrolled[]
beforeAll(async () => {
  world = await createWorld()
  const device = await world.device('d')
  given = Array.from({ length: DEVICES }, (_, at) => ({ ...device, deviceId: `d${at}` }))
})

/** Takes connections, and never shakes hands. */
let silent: ReturnType<typeof createServer>
let sockets: Socket[]
/** when each came, ms */
let came: number[]
beforeEach(() => {
  sockets = []
  came = []
  silent = createServer((socket) => {
    came.push(performance.now())
    sockets.push(socket.on('error', () => {}))
  }).listen(0)
})
const untilCame = async (count: number): Promise<void> => {
  while (came.length < count) await once(silent, 'connection')
}
/** ms from the start, before which nobody began, to that one: a busy machine makes it more, never less */
const after = (number: number, { startsAt }: Ran): number =>
  performance.timeOrigin + (came[number - 1] ?? 0) - startsAt
afterEach(() => {
  silent.close()
  for (const socket of sockets) socket.destroy()
})

const start = (o: Partial<Scenario>, signal: AbortSignal): Promise<Ran> => {
  const { port } = silent.address() as AddressInfo
  return ran(world, {
    scenario: scenarioOf({ devices: DEVICES, duration: 60_000, ...o }),
    targets: { https: `https://127.0.0.1:${port}`, mqtts: `mqtts://127.0.0.1:${port}` },
    given,
    signal,
  })
}

test('closed loop: 64 at once, over both doors, also when none of them gets anywhere', async () => {
  const end = new AbortController()
  const doors = { https: 1, mqtt: 1 }
  const running = start({ doors, load: { kind: 'closed', pace: 10, jitter: 0 } }, end.signal)
  await untilCame(DEVICES)
  end.abort()
  const run = await running
  // 64 hold their places for a second, which a timer may count a little short
  expect(after(65, run)).toBeGreaterThan(990)
  // nothing is due in a closed loop: who had to wait began later
  expect(run.load.late).toBe(0)
})

test('open loop: a silent server is asked no less, and what had to wait for a place is the generator’s delay', async () => {
  const end = new AbortController()
  const doors = { https: 1, mqtt: 0 }
  const running = start({ doors, load: { kind: 'open', rate: 1_000, arrivals: 'constant' } }, end.signal)
  await untilCame(128)
  end.abort()
  const run = await running
  expect(after(65, run)).toBeGreaterThan(240)
  expect(run.load.late).toBeGreaterThanOrEqual(64)
})

test('a reconnect does not concern those whose turn to connect has not come', async () => {
  const end = new AbortController()
  const running = start(
    {
      doors: { https: 1, mqtt: 0 },
      load: { kind: 'closed', pace: 60_000, jitter: 0 },
      timeline: [{ kind: 'reconnect', at: 100, lasts: undefined, share: 1 }],
    },
    end.signal,
  )
  // 64 are cut, and those that waited come in their place
  await untilCame(DEVICES)
  end.abort()
  const { events } = await running
  expect(events.filter(({ kind }) => kind === 'unanswered')).toHaveLength(DEVICES)
})
