/** What a door says of a certificate that is tried, and what it says of other things; and what is made of a reason that is none of ours. */

import { beforeAll, expect, test } from 'vitest'
import { createOpeningGate } from '#device-sim/client/opening-gate.ts'
import { httpsLife } from '#device-sim/life/https-life.ts'
import type { DevicePlan } from '#device-sim/life/plan.ts'
import type { RunScope } from '#device-sim/life/run-scope.ts'
import { createDevice } from '#device-sim/life/virtual-device.ts'
import { createLoadCounts } from '#device-sim/load/open.ts'
import { createWorld, httpsServer, type World } from '../../../support/faulty-servers.ts'
import { ran, scenarioOf } from './fleet-of.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})

/** One request with a new certificate that is not confirmed yet. @returns what the device keeps and asks then */
const tried = async (status: number, reason: string | undefined): Promise<string[]> => {
  const done: string[] = []
  await using door = await httpsServer(world.tls, (request, response) => {
    request.resume()
    response.writeHead(status, reason === undefined ? {} : { 'content-type': 'application/problem+json' })
    response.end(reason === undefined ? '' : JSON.stringify({ reason }))
  })
  await using desk = await httpsServer(world.tls, (request, response) => {
    request.resume()
    done.push(`asked ${request.url}`)
    response.end('{"serial":"02","state":"live"}')
  })
  const scope = {
    targets: { https: `https://localhost:${door.port}`, enroll: `https://localhost:${desk.port}` },
    scenario: scenarioOf({}),
    rounds: 1,
    gauge: { underWay: 0 },
    load: createLoadCounts(),
    clock: Date.now,
    gates: { renewing: <T>(work: () => Promise<T>) => work(), opening: createOpeningGate() },
    state: {
      keep: async (_: string, kept: { candidate?: object; enrolled: { serial: string } }) => {
        if (kept.candidate === undefined) done.push(`keeps ${kept.enrolled.serial}`)
      },
    },
    emit() {},
  } as unknown as RunScope
  const enrolled = await world.device('pump-7')
  const plan = { id: 'pump-7', clockOffset: 0, wait: () => 1 } as DevicePlan
  const device = createDevice(
    plan,
    scope,
    { enrolled, candidate: { ...enrolled, serial: '02' } },
    {
      ends: { stop: new AbortController(), end: new AbortController() },
      mayHaveFault: false,
      onCandidate() {},
    },
  )
  await httpsLife(device).run()
  return done
}

const CONFIRMED = ['asked /v1/confirm', 'keeps 02']
test.each([
  [200, undefined, CONFIRMED],
  [403, 'certificate_revoked', ['keeps 01']],
  [403, 'certificate_unknown', ['keeps 01']],
  [403, 'device_suspended', ['keeps 01']],
  // an origin that is down is behind a door that has let it in
  [502, 'origin_unreachable', CONFIRMED],
  [502, undefined, CONFIRMED],
  [404, undefined, CONFIRMED],
  [409, 'version_conflict', CONFIRMED],
  // says nothing of the certificate: it is tried again
  [429, 'rate_limited', []],
  [503, 'registry_unavailable', []],
  [403, 'policy_denied', []],
  [403, 'issuer_revoked', []],
  [400, undefined, []],
  [403, 'wants_a_login', []],
  [500, 'internal', []],
])('%d %s', async (status, reason, expected) => {
  expect(await tried(status, reason)).toEqual(expected)
})

/** One request of one device. @returns what it says of it */
const told = async (status: number, reason?: string) => {
  await using door = await httpsServer(world.tls, (request, response) => {
    request.resume()
    response.writeHead(status, reason === undefined ? {} : { 'content-type': 'application/problem+json' })
    response.end(reason === undefined ? '' : JSON.stringify({ reason }))
  })
  const { events } = await ran(world, {
    scenario: scenarioOf({ devices: 1, doors: { https: 1, mqtt: 0 } }),
    targets: { https: `https://localhost:${door.port}` },
    rounds: 1,
  })
  return events.filter(({ kind }) => ['admitted', 'refused', 'error'].includes(kind))
}

const TIME = expect.any(Number) as number
test.each([
  [200, undefined, { kind: 'admitted' }],
  [403, 'certificate_revoked', { kind: 'refused', reason: 'certificate_revoked' }],
  // somebody has said no, whoever that is
  [401, undefined, { kind: 'refused', reason: 'http_401' }],
  [403, 'their_own', { kind: 'refused', reason: 'http_403' }],
  [503, undefined, { kind: 'error', detail: 'http_503' }],
  [408, 'request_timeout', { kind: 'error', detail: 'request_timeout' }],
  // only an origin says so: whoever asked was let in
  [404, undefined, { kind: 'error', detail: 'http_404', letIn: TIME }],
  [404, 'no_such_pump', { kind: 'error', detail: 'http_404 no_such_pump', letIn: TIME }],
  [502, 'origin_unreachable', { kind: 'error', detail: 'origin_unreachable', letIn: TIME }],
] as const)('%d %s is told once', async (status, reason, expected) => {
  const events = await told(status, reason)
  expect(events).toEqual([expect.objectContaining({ door: 'https', ...expected })])
  expect(Object.hasOwn(events[0] ?? {}, 'letIn')).toBe('letIn' in expected)
})

test('a reason that is none of ours stands behind the status, in one line, and not too long', async () => {
  expect(await told(500, `\u001b[2J\n${'x'.repeat(1_000)}`)).toMatchObject([
    { kind: 'error', detail: `http_500 ?[2J?${'x'.repeat(58)}…` },
  ])
})
