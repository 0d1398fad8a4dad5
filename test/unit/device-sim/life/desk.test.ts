/** What a device has with the desk goes on beside its turns: a desk that hangs, or is wrong, stops no traffic. */

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { FleetEvent } from '#device-sim/index.ts'
import { createWorld, httpsServer, openBroker, type World } from '../../../support/faulty-servers.ts'
import { keepState, ran, scenarioOf } from './fleet-of.ts'

let world: World
let silent: ReturnType<typeof createServer>
let dir: string
beforeAll(async () => {
  world = await createWorld()
  // takes connections and says nothing
  silent = createServer(() => {}).listen(0)
})
afterAll(() => void silent.close())
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sim-desk-'))
  return () => rm(dir, { recursive: true })
})

/** A device whose certificate is good, and due for renewal. */
const due = async (): Promise<void> =>
  keepState(dir, 'x', { ...(await world.device('sim-x-0001')), renewAfter: 0 })

test.each([
  ['https', 0],
  ['mqtt', 0],
  ['mqtt', 1],
] as const)('a desk that hangs: %s goes on', async (door, qos) => {
  await due()
  await using https = await httpsServer(world.tls, (request, response) => {
    request.resume()
    response.end('ok')
  })
  await using mqtt = await openBroker(world.tls)
  const stop = new AbortController()
  let turns = 0
  const onEvent = ({ kind }: FleetEvent): void => {
    if (kind === (door === 'https' ? 'admitted' : 'published') && ++turns === 5) stop.abort()
  }
  const common = scenarioOf({})
  const began = performance.now()
  await ran(world, {
    scenario: scenarioOf({
      devices: 1,
      doors: { https: 0, mqtt: 0, [door]: 1 },
      load: { kind: 'closed', pace: 20, jitter: 0 },
      mqtt: { ...common.mqtt, qos },
      adviceEvery: 10,
    }),
    targets: {
      enroll: `https://localhost:${(silent.address() as AddressInfo).port}`,
      https: `https://localhost:${https.port}`,
      mqtts: `mqtts://localhost:${mqtt.port}`,
    },
    seed: 'x',
    stateDir: dir,
    stop: stop.signal,
    onEvent,
  })
  expect(turns).toBe(5)
  // the drain: it waits no longer for the desk at its end
  expect(performance.now() - began).toBeLessThan(3_000)
})

test('by its own clock, and over its own link, a device asks the desk too', async () => {
  await due()
  let asked = 0
  await using desk = await httpsServer(world.tls, (request, response) => {
    asked++
    request.resume()
    response.end('{}')
  })
  await using https = await httpsServer(world.tls, (request, response) => {
    request.resume()
    response.end('ok')
  })
  const stop = new AbortController()
  const details: string[] = []
  const onEvent = (event: FleetEvent): void => {
    if (event.kind !== 'error' || event.door !== 'enroll') return
    details.push(event.detail)
    stop.abort()
  }
  const year = 365 * 86_400_000
  await ran(world, {
    scenario: scenarioOf({
      devices: 1,
      doors: { https: 1, mqtt: 0 },
      clocks: { share: 1, from: year, to: year },
    }),
    targets: { enroll: `https://localhost:${desk.port}`, https: `https://localhost:${https.port}` },
    seed: 'x',
    stateDir: dir,
    stop: stop.signal,
    onEvent,
  })
  expect(details[0]).toContain('by its own clock')
  expect(asked).toBe(0)
})
