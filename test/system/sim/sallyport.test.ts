/** Whole simulations against a real stack, in this process and in workers: what the report says, and what it leaves behind. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Check } from 'typebox/value'
import { enrollDevice, type SimulationOptions } from '#device-sim/index.ts'
import type { StoredGroup } from '#wire/groups.ts'
import type { Token } from '#wire/rest.ts'
import { SimulationReportSchema } from '#wire/simulation-report.ts'
import { readGivenCertificates } from '#cli/sim/given-certificates.ts'
import { startFleet, type Fleet } from '../../support/fleet.ts'
import { openForwarder } from '../../support/forwarder.ts'
import { allGone, invariant, quick, simulated, until, workersOf } from '../../support/simulation.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const targets = () => ({ enroll: fleet.urls.devices, https: fleet.urls.https, mqtts: fleet.urls.mqtts })
const ours = (): Pick<SimulationOptions, 'targets' | 'operator'> => ({
  targets: targets(),
  operator: { url: fleet.urls.operator, token: fleet.operatorToken, rootPem: undefined },
})
const usableTokens = async (): Promise<readonly Token[]> => {
  const { items } = await fleet.operator.call<{ items: readonly Token[] }>('GET', '/v1/tokens', {
    query: { limit: 1_000 },
  })
  return items.filter(({ state }) => state === 'usable')
}
const claimGroups = async (): Promise<readonly string[]> => {
  const { items } = await fleet.operator.call<{ items: readonly StoredGroup[] }>('GET', '/v1/groups')
  return items.filter(({ bootstrap }) => bootstrap !== null).map(({ name }) => name)
}

test('calm, in this process: the report is whole, and its form is the documented one; nothing is left', async () => {
  const before = await usableTokens()
  const scenario = quick({ duration: 1_500 })
  const report = await simulated({ ...ours(), scenario, seed: 'calm1' })
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
  expect(Check(SimulationReportSchema, report)).toBe(true)
  expect(report.run).toMatchObject({
    scenario: 'calm',
    seed: 'calm1',
    command: 'repeat calm1',
    devices: 4,
    interrupted: false,
    trouble: null,
  })
  expect(report.run.duration_ms).toBeGreaterThanOrEqual(1_500)
  expect(report.counts).toMatchObject({ enrolled_rest: 4 })
  expect(report.counts['admitted_https']).toBeGreaterThan(4)
  // those of the enrolment are counted, and not measured beside the doors'
  const handshakes = report.measures['handshake']?.count
  expect(handshakes).toBe((report.counts['admitted_https'] ?? 0) + (report.counts['admitted_mqtt'] ?? 0))
  expect(report.counts['handshakes']).toBeGreaterThan(handshakes ?? 0)
  expect(report.series.length).toBeGreaterThan(0)
  for (const name of [
    'certificate_required',
    'full_handshakes',
    'one_request_per_connection',
    'no_token_returned',
  ])
    expect(invariant(report, name)).toMatchObject({ held: true, broken: 0 })
  expect(await usableTokens()).toEqual(before)
})

test('the same seed again: the same doors, keys and ways to enrol, with devices of its own', async () => {
  const scenario = quick({ devices: 6, enroll: { rest: 1, est: 1, mqtt: 1 } })
  const run = () => simulated({ ...ours(), scenario, seed: 'twice', rounds: 1 })
  const [first, second] = [await run(), await run()]
  const planned = ({ counts }: typeof first) => [
    counts['enrolled_rest'],
    counts['enrolled_est'],
    counts['enrolled_mqtt'],
    counts['admitted_https'],
    counts['admitted_mqtt'],
  ]
  expect(planned(first)).toEqual([2, 2, 2, 3, 3])
  expect(planned(second)).toEqual(planned(first))
  expect([first.verdict, second.verdict]).toEqual(Array(2).fill({ ok: true, reasons: [] }))
  const names = await Promise.all(
    ['sim-twice-0001', 'sim-twice.2-0001'].map((id) => fleet.operator.call('GET', `/v1/devices/${id}`)),
  )
  expect(names).toHaveLength(2)
})

const refusedAs = (says: RegExp) => ({
  code: 'config_invalid',
  detail: expect.stringMatching(says) as string,
})

test('a new directory and a seed whose fleet is there: a name of its own, which the directory keeps', async () => {
  const scenario = quick({ devices: 2 })
  const run = (stateDir: string) =>
    simulated({ ...ours(), scenario, seed: 'names', stateDir, rounds: 1, credentials: {} })
  await run(join(fleet.home, 'names-1'))
  const second = await run(join(fleet.home, 'names-2'))
  expect(second.counts).toMatchObject({ enrolled_rest: 2 })
  const again = await run(join(fleet.home, 'names-2'))
  expect(again.verdict).toEqual({ ok: true, reasons: [] })
  expect(again.counts).toMatchObject({ enrolled_state: 2 })
  expect(JSON.parse(readFileSync(join(fleet.home, 'names-2/fleet.json'), 'utf8'))).toEqual({
    seed: 'names',
    name: 'names.2',
  })
})

test('a fleet that is somebody else’s, and no operator to see it by: ended at the first device, with what to do', async () => {
  const scenario = quick({ devices: 40, duration: 60_000 })
  const run = { targets: targets(), scenario, rootPem: fleet.rootPem, seed: 'others' }
  await simulated({ ...ours(), scenario: quick({ devices: 2 }), seed: 'others', rounds: 1 })
  const began = Date.now()
  await expect(
    simulated({ ...run, credentials: { token: await fleet.token({ uses: 40 }) } }),
  ).rejects.toMatchObject(
    refusedAs(/^sim-others-000[12] is enrolled already .* another --seed, or the --state/),
  )
  expect(Date.now() - began).toBeLessThan(10_000)
})

test('so too at the last device, when the others have been enrolled', async () => {
  await enrollDevice({
    server: fleet.urls.devices,
    id: 'sim-tail-0012',
    token: await fleet.token(),
    rootPem: fleet.rootPem,
  })
  const credentials = { token: await fleet.token({ uses: 12 }) }
  const run = { targets: targets(), scenario: quick({ devices: 12 }), rootPem: fleet.rootPem }
  await expect(simulated({ ...run, seed: 'tail', rounds: 1, credentials })).rejects.toMatchObject(
    refusedAs(/^sim-tail-0012 is enrolled already/),
  )
})

test('two runs of one seed at once: who goes on has a fleet of its own, who does not is told why', async () => {
  const scenario = quick({ devices: 12, assertions: ['refused==0'] })
  const runs = await Promise.allSettled(
    [1, 2].map(() => simulated({ ...ours(), scenario, seed: 'twins', rounds: 1, workers: 0 })),
  )
  for (const run of runs)
    if (run.status === 'fulfilled') expect(run.value.verdict).toEqual({ ok: true, reasons: [] })
    else expect(run.reason).toMatchObject(refusedAs(/^sim-twins-00\d\d is enrolled already/))
})

test('an operator API that says no is no free name', async () => {
  const operator = { ...ours().operator, token: `${fleet.operatorToken.slice(0, -6)}AAAAAA` }
  await expect(
    simulated({
      ...ours(),
      operator: operator as SimulationOptions['operator'],
      scenario: quick(),
      credentials: { token: await fleet.token({ uses: 4 }) },
      rounds: 1,
    }),
  ).rejects.toMatchObject({ code: expect.stringMatching(/token|unauth|forbidden/) as string })
})

test('Ctrl-C while the operator API hangs: two seconds, and what stays is named', async () => {
  const desks = fleet.stack.desks.filter(({ name }) => name === 'enroll').map(({ pid }) => pid as number)
  const stop = new AbortController()
  const running = until(({ last }) => (last?.counts['admitted_https'] ?? 0) > 4)
  const run = simulated({
    ...ours(),
    scenario: quick({
      duration: 60_000,
      timeline: [{ kind: 'suspend', at: 10, lasts: undefined, share: 0.25 }],
      assertions: [],
    }),
    seed: 'hangs',
    signal: stop.signal,
    onLive: running.onLive,
  })
  await Promise.race([running.seen, run])
  for (const pid of desks) process.kill(pid, 'SIGSTOP')
  const began = Date.now()
  try {
    stop.abort()
    const report = await run
    expect(Date.now() - began).toBeLessThan(6_000)
    expect(report.verdict.ok).toBe(false)
    expect(report.run.trouble).toMatch(
      /^still suspended \(npx sallyport device resume <id>\): sim-hangs-000\d; could not be taken away: the claim token [\w-]+ \(npx sallyport token revoke [\w-]+\): target_unreachable/,
    )
    expect(JSON.stringify(report)).not.toContain('spt1.')
  } finally {
    for (const pid of desks) process.kill(pid, 'SIGCONT')
  }
}, 20_000)

test('an operator suspends and revokes, in two workers: judged from the answer on; the suspended are let in again', async () => {
  const scenario = quick({
    devices: 8,
    duration: 4_000,
    timeline: [
      { kind: 'suspend', at: 300, lasts: 700, share: 0.25 },
      { kind: 'revoke', at: 1_500, lasts: undefined, share: 0.5, reason: 'keyCompromise' },
    ],
    bounds: { revokedWithin: 500, drain: 1_000 },
    assertions: ['refused.unexpected==0', 'errors==0', 'refused>0'],
  })
  const servers = fleet.stack.desks.map(({ name, pid }) => ({ name, pid: pid as number }))
  const report = await simulated({ ...ours(), scenario, seed: 'drill1', workers: 2, servers: () => servers })
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
  expect(report.run.workers).toBe(2)
  expect(report.timeline).toEqual([
    {
      kind: 'suspend',
      at_ms: 300,
      lasts_ms: 700,
      devices: 2,
      struck: 2,
      detail: '2 of 2 suspended; 2 of 2 resumed',
    },
    { kind: 'revoke', at_ms: 1_500, lasts_ms: null, devices: 4, struck: 4, detail: '4 of 4 revoked' },
  ])
  // ours lets nobody listen to what others publish, and the report says so
  expect(invariant(report, 'revoked_stay_out').unobserved).toMatch(
    /the target lets nobody listen to the topics of others \(SUBACK 128\)/,
  )
  const stayedOut = invariant(report, 'revoked_stay_out')
  expect(stayedOut).toMatchObject({ held: true, broken: 0 })
  expect(stayedOut.checked).toBeGreaterThan(4)
  const states = await Promise.all(
    Array.from({ length: 8 }, (_, at) =>
      fleet.operator.call<{ state: string }>('GET', `/v1/devices/sim-drill1-000${at + 1}`),
    ),
  )
  expect(states.map(({ state }) => state).toSorted()).toEqual([
    ...Array(4).fill('active'),
    ...Array(4).fill('revoked'),
  ])
  if (existsSync('/proc/self/stat')) expect(report.servers.map(({ name }) => name)).toContain('gateway')
}, 20_000)

test('a door that goes away in the middle and comes back: errors are counted, everybody is back, the report is whole', async () => {
  await using mqtts = await openForwarder(fleet.urls.mqtts)
  const scenario = quick({ duration: 3_000, doors: { https: 0, mqtt: 1 }, assertions: ['errors>0'] })
  const running = until(({ last }) => last?.connected === 4)
  const run = simulated({
    ...ours(),
    targets: { ...targets(), mqtts: mqtts.url },
    scenario,
    seed: 'gone1',
    onLive: running.onLive,
  })
  await Promise.race([running.seen, run])
  await Promise.race([mqtts.turnAway(4), run])
  mqtts.open()
  const report = await run
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
  expect(Object.keys(report.errors)).toEqual(['mqtt'])
  expect(report.refused).toEqual({})
  expect(report.counts['cut']).toBe(4)
  // all came back
  expect(report.counts['admitted_mqtt']).toBe(8)
  expect(invariant(report, 'acknowledged_is_delivered').broken).toBe(0)
}, 20_000)

test('a worker that dies is trouble: the others stop, and what was seen is told', async () => {
  if (!existsSync('/proc/self/stat')) return
  const running = until(({ last }) => (last?.counts['admitted_https'] ?? 0) > 0)
  const run = simulated({
    ...ours(),
    scenario: quick({ duration: 30_000 }),
    seed: 'dies1',
    workers: 2,
    onLive: running.onLive,
  })
  await Promise.race([running.seen, run])
  process.kill(workersOf(process.pid)[0] as number, 'SIGKILL')
  const report = await run
  expect(report.run).toMatchObject({
    interrupted: true,
    trouble: expect.stringMatching(/^worker \d of 2 died \(SIGKILL\)$/),
  })
  expect(report.verdict.ok).toBe(false)
  expect(report.counts['admitted_https']).toBeGreaterThan(0)
  expect(report.run.duration_ms).toBeLessThan(20_000)
  await allGone(workersOf(process.pid))
}, 20_000)

test('Ctrl-C while the fleet gathers: a report of what there was, and nothing is left', async () => {
  const before = await usableTokens()
  const stop = new AbortController()
  const report = await simulated({
    ...ours(),
    // few by MQTT: sixty a minute may enrol from one address, and a fast machine had as many before it was ended
    scenario: quick({ devices: 400, duration: 60_000, enroll: { rest: 19, est: 0, mqtt: 1 } }),
    seed: 'early1',
    signal: stop.signal,
    onLive: ({ phase }) => {
      if (phase.kind === 'gathering' && phase.done > 0) stop.abort()
    },
  })
  expect(report.run.interrupted).toBe(true)
  // what was never tried has not passed
  expect(report.verdict).toEqual({ ok: false, reasons: ['it was ended before it began'] })
  expect(Check(SimulationReportSchema, report)).toBe(true)
  expect(report.counts['enrolled_rest']).toBeGreaterThan(0)
  expect(report.counts['admitted_https'] ?? 0).toBe(0)
  expect(await usableTokens()).toEqual(before)
  expect(await claimGroups()).toEqual([])
}, 20_000)

test('keys and certificates are kept: the second run enrols nobody and needs no token', async () => {
  const stateDir = join(fleet.home, 'kept')
  const scenario = quick()
  const first = await simulated({ ...ours(), scenario, stateDir, rounds: 1 })
  expect(first.counts).toMatchObject({ enrolled_rest: 4 })
  const second = await simulated({ targets: targets(), scenario, stateDir, rounds: 1 })
  expect(second.verdict.ok).toBe(true)
  expect(second.counts).toMatchObject({ enrolled_state: 4 })
  expect(second.counts['enrolled_rest']).toBeUndefined()
  expect(second.run.seed).toBe(first.run.seed)
})

test('our own doors as a foreign target, with certificates that are given', async () => {
  const [pump] = await Promise.all([fleet.enroll('pump-a'), fleet.enroll('pump-b')])
  const given = await readGivenCertificates(join(fleet.home, 'devices'), { rootPem: fleet.rootPem })
  expect(given).toHaveLength(2)
  expect(given[0]?.deviceId).toBe(pump.deviceId)
  const { enroll: _, ...doors } = targets()
  const report = await simulated({
    targets: doors,
    scenario: quick({ devices: 2 }),
    given,
    foreign: true,
    rounds: 2,
    path: '/hello/{id}',
  })
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
  expect(report.counts).toMatchObject({ enrolled_given: 2, admitted_https: 2, published: 2, delivered: 2 })
  expect(invariant(report, 'certificate_required')).toMatchObject({
    held: null,
    why: 'not asked of a foreign target',
  })
  expect(invariant(report, 'own_topics_only').held).toBe(true)
})

test.each([
  [
    'a fault of the operator, and no operator',
    { timeline: [{ kind: 'revoke', at: 10, lasts: undefined, share: 1, reason: 'unspecified' }] as const },
    /scenario calm, timeline entry 1 \(revoke at 0\.01 s\) needs an operator token: .*operator token create/,
  ],
  ['devices to enrol, and nothing to do it with', {}, /4 devices are not enrolled yet: give a claim token/],
  [
    'devices that enrol by MQTT, and no claim certificate',
    { enroll: { rest: 0, est: 0, mqtt: 1 } },
    /4 devices enrol by MQTT: give a claim certificate/,
  ],
])('%s is said before anything is tried', async (_, over, says) => {
  const run = simulated({ targets: targets(), scenario: quick(over), rootPem: fleet.rootPem })
  await expect(run).rejects.toMatchObject({ code: 'config_invalid', detail: expect.stringMatching(says) })
})

test('a rotation without a prepared issuer is said before anything is tried, with the command', async () => {
  const timeline = [
    { kind: 'rotate', at: 10, lasts: undefined, share: 1, step: 'distribute', force: false },
  ] as const
  await expect(simulated({ ...ours(), scenario: quick({ timeline }) })).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringContaining('npx sallyport ca rotate prepare'),
  })
})
