/**
 * In an open loop no turn is lost: due = absent + dropped + begun, and what was begun was admitted or published, refused, an error, or was never
 * answered. Held by a fleet that runs, against a door that does everything that a door may do.
 */

import { describe, expect, test } from 'vitest'
import type { FleetEvent } from '#device-sim/events.ts'
import { runFleet } from '#device-sim/life/run.ts'
import { createLoadCounts } from '#device-sim/load/open.ts'
import { createMeasures } from '#device-sim/measure/measuring.ts'
import { createTotals } from '#device-sim/measure/totals.ts'
import { totalOfDoors } from '#device-sim/measure/counts.ts'
import type { Scenario } from '#device-sim/scenario/scenario.ts'
import { createWorld, httpsServer } from '../../support/faulty-servers.ts'
import { freePort } from '../../support/free-port.ts'
import { quick } from '../../support/simulation.ts'

const DEVICES = 6
const world = await createWorld()
const given = await Promise.all(Array.from({ length: DEVICES }, (_, at) => world.device(`d${at}`)))

/** In turn: lets in, refuses, fails, breaks off, never answers. */
const moody = () => {
  let turn = 0
  return httpsServer(world.tls, (request, reply) => {
    request.resume()
    const mood = turn++ % 5
    if (mood === 0) reply.end('ok')
    else if (mood === 1)
      reply
        .writeHead(403, { 'content-type': 'application/problem+json' })
        .end(JSON.stringify({ reason: 'policy_denied' }))
    else if (mood === 2) reply.writeHead(502).end()
    else if (mood === 3) request.socket.destroy()
  })
}

const seen = async (scenario: Scenario, targets: Parameters<typeof runFleet>[0]['targets']) => {
  const load = createLoadCounts()
  const events: FleetEvent[] = []
  using measures = createMeasures(() => load)
  await runFleet({
    scenario,
    seed: 'balance',
    targets,
    credentials: {},
    given,
    triesOthers: false,
    signal: new AbortController().signal,
    load,
    onEvent(event) {
      events.push(event)
      measures.sink(event)
    },
  })
  const totals = createTotals('open')
  totals.add(0, measures.sample({ devices: 0, connected: 0, underWay: 0 }))
  return { ...totals.totals(), events }
}

const open = (o: Partial<Scenario>): Scenario =>
  quick({
    devices: DEVICES,
    duration: 900,
    ramp: 300,
    load: { kind: 'open', rate: 100, arrivals: 'constant' },
    bounds: { revokedWithin: 1_000, drain: 100 },
    ...o,
  })

describe('every turn is somewhere', () => {
  test('over HTTPS, at a door of every mood, with devices that are away', async () => {
    await using server = await moody()
    const timeline = [{ at: 400, lasts: 200, share: 0.5, kind: 'offline' } as const]
    const { counts, refused, errors } = await seen(open({ doors: { https: 1, mqtt: 0 }, timeline }), {
      https: `https://localhost:${server.port}`,
    })
    const { due = 0, absent = 0, dropped = 0, unanswered = 0, admitted_https: admitted = 0 } = counts
    expect(due).toBe(90)
    expect(absent).toBeGreaterThan(0)
    for (const some of [admitted, unanswered, totalOfDoors(refused), totalOfDoors(errors)])
      expect(some).toBeGreaterThan(0)
    expect(absent + dropped + admitted + totalOfDoors(refused) + totalOfDoors(errors) + unanswered).toBe(due)
  })

  test('over MQTT, with no door at all', async () => {
    const mqtts = `mqtts://localhost:${await freePort()}`
    const { counts, events } = await seen(open({ doors: { https: 0, mqtt: 1 } }), { mqtts })
    const { due = 0, absent = 0, dropped = 0, unanswered = 0, published = 0 } = counts
    // errors are of connections here, which are no turns
    const refused = events.filter(
      (event) => event.kind === 'refused' && event.reason.startsWith('puback_'),
    ).length
    expect(due).toBe(90)
    expect(unanswered + dropped).toBeGreaterThan(0)
    expect(absent + dropped + published + refused + unanswered).toBe(due)
  })
})
