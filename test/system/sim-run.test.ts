/** A simulated fleet against the real desks: it enrols once, goes on with what it has, renews, and ends when it is told to. */

import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DAY, systemClock } from '#fleet/clock.ts'
import {
  calm,
  clientContext,
  createMeter,
  createOperator,
  enrollDevice,
  httpsOnce,
  mqttConnect,
  newKey,
  renewDevice,
  runFleet,
  type Enrolled,
  type FleetEvent,
  type FleetOptions,
  type Scenario,
} from '#device-sim/index.ts'
import { createLoadCounts } from '#device-sim/load/open.ts'
import { startStack, type Stack } from '#cli/up/stack.ts'
import { temporaryFolder } from '../support/temporary.ts'

const pace = (ms: number) => ({ kind: 'closed', pace: ms, jitter: 0.5 }) as const
const quick = (devices: number, o: Partial<Scenario> = {}): Scenario => ({
  ...calm(),
  devices,
  ramp: 100,
  load: pace(50),
  ...o,
})

const folder = temporaryFolder()
const home = folder.path
let stack: Stack
let rootPem: string
beforeAll(async () => {
  stack = await startStack({
    home,
    cwd: home,
    ports: 0,
    development: true,
    env: { PATH: process.env['PATH'] },
  })
  rootPem = readFileSync(stack.config.ca.root, 'utf8')
}, 30_000)
afterAll(async () => {
  await stack[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const targets = () => ({ enroll: stack.urls.devices, https: stack.urls.https, mqtts: stack.urls.mqtts })
const operator = () =>
  createOperator({ url: stack.urls.operator, token: stack.operatorToken?.token ?? '', rootPem })
const never = new AbortController().signal

test('one device by hand: enrols, gets in over both doors, renews, gets in again; a lost answer costs nothing', async () => {
  const { token } = await operator().createToken({ uses: 1 })
  const keyPem = await newKey('P-256')
  const asking = { server: stack.urls.devices, token, id: 'by-hand', keyPem }
  const enrolled = await enrollDevice(asking)
  // the same again, as if the answer had been lost: the token has one use, and this is it
  expect((await enrollDevice(asking)).serial).toBe(enrolled.serial)
  await expect(enrollDevice({ ...asking, keyPem: await newKey('P-256') })).rejects.toMatchObject({
    code: 'token_spent',
  })

  const getsIn = async (identity: Enrolled): Promise<void> => {
    const context = clientContext({ rootPem: identity.rootPem, identity })
    expect(await httpsOnce({ url: `${stack.urls.https}/hello`, context })).toMatchObject({
      status: 200,
      resumed: false,
    })
    const outcome = await mqttConnect({ url: stack.urls.mqtts, context, clientId: identity.deviceId })
    expect(outcome).toMatchObject({ accepted: true, resumed: false })
    if (outcome.accepted) await outcome.link.close()
  }
  await getsIn(enrolled)
  const renewed = await renewDevice({ server: stack.urls.devices, enrolled, newKey: true })
  expect(renewed.keyPem).not.toBe(enrolled.keyPem)
  expect(renewed.serial).not.toBe(enrolled.serial)
  await getsIn(renewed)
})

/** The rest of a fleet's options; it hears its own events. */
const options = async (
  scenario: Scenario,
  o: Partial<FleetOptions> = {},
): Promise<FleetOptions & { readonly events: FleetEvent[] }> => {
  const events: FleetEvent[] = []
  return {
    scenario,
    targets: targets(),
    credentials: { token: (await operator().createToken({ uses: scenario.devices })).token },
    signal: never,
    triesOthers: false,
    onEvent: (event) => void events.push(event),
    events,
    ...o,
  }
}
const kinds = (events: readonly FleetEvent[], device: string): string[] =>
  events.filter((event) => event.device === device).map(({ kind }) => kind)

test('enrols once; a second run goes on with the same keys, and needs no token', async () => {
  const stateDir = join(home, 'fleet')
  const meter = createMeter()
  const common = await options(quick(4), { stateDir, meter })
  const first = await runFleet({ ...common, seed: 'kept', rounds: 2 })
  expect(first).toMatchObject({
    enrolled: 4,
    reused: 0,
    admitted: { https: 4, mqtt: 2 },
    published: 4,
    delivered: 4,
    cut: 0,
    errors: 0,
    refused: { enroll: {}, https: {}, mqtt: {} },
    seed: 'kept',
  })
  const files = async () => (await readdir(stateDir)).toSorted()
  const before = await files()

  const second = await runFleet({ ...common, credentials: {}, rounds: 1 })
  expect(second).toMatchObject({ enrolled: 0, reused: 4, admitted: { https: 2, mqtt: 2 }, errors: 0 })
  expect(await files()).toEqual(before)
  expect(meter.figures()).toMatchObject({ resumed: 0, tokensReturned: 0 })
})

test('what one device says of itself: in order, each with when it was and how long it took', async () => {
  const run = await options(quick(2), { seed: 'order', rounds: 2 })
  await runFleet(run)
  expect(kinds(run.events, 'sim-order-0001')).toEqual(['enrolled', 'admitted', 'admitted'])
  const mqtt = kinds(run.events, 'sim-order-0002')
  expect(mqtt.slice(0, 3)).toEqual(['enrolled', 'admitted', 'listening'])
  expect(mqtt.slice(3, -1).toSorted()).toEqual(['delivered', 'delivered', 'published', 'published'])
  expect(mqtt.at(-1)).toBe('left')
  const published = run.events.filter((event) => event.kind === 'published')
  expect(published.map(({ seq, acknowledged }) => [seq, acknowledged])).toEqual([
    [1, true],
    [2, true],
  ])
  for (const event of run.events) {
    expect(event.at).toBeGreaterThan(systemClock() - 60_000)
    expect(event.at).toBeLessThan(systemClock() + 1_000)
    if ('millis' in event) expect(event.millis).toBeGreaterThan(0)
  }
})

test('parts of a fleet are disjoint, and each runs its own', async () => {
  const run = await options(quick(3), { seed: 'parts', rounds: 1 })
  await Promise.all([0, 1].map((index) => runFleet({ ...run, part: { index, of: 2 } })))
  const enrolled = run.events.filter(({ kind }) => kind === 'enrolled').map(({ device }) => device)
  expect(enrolled.toSorted()).toEqual(['sim-parts-0001', 'sim-parts-0002', 'sim-parts-0003'])
})

test('every way to enrol that needs no more than a token', async () => {
  const run = await options(quick(6, { enroll: { rest: 1, est: 1, mqtt: 0 } }), { rounds: 1, seed: 'ways' })
  expect(await runFleet(run)).toMatchObject({ enrolled: 6, admitted: { https: 3, mqtt: 3 }, errors: 0 })
  const via = run.events.filter((event) => event.kind === 'enrolled').map((event) => event.via)
  expect(via.toSorted()).toEqual(['est', 'est', 'est', 'rest', 'rest', 'rest'])
})

test('identities that were given are used as they are', async () => {
  const { token } = await operator().createToken({ uses: 1 })
  const given = [await enrollDevice({ server: stack.urls.devices, token, id: 'given-1' })]
  const { https } = targets()
  const run = await options(quick(1, { doors: { https: 1, mqtt: 0 } }), {
    targets: { https },
    given,
    rounds: 2,
  })
  expect(await runFleet({ ...run, path: '/hello' })).toMatchObject({
    reused: 1,
    admitted: { https: 2 },
    errors: 0,
  })
  const admitted = run.events.filter((event) => event.kind === 'admitted')
  expect(admitted.map(({ device, target }) => `${device} ${target}`)).toEqual([
    'given-1 /hello',
    'given-1 /hello',
  ])
})

test('renews when renew_after has passed, beside its turns', async () => {
  // the device's own clock, past the window: the certificate is not due by the server's
  const clock = () => systemClock() + 26 * DAY
  const stop = new AbortController()
  const run = await options(quick(2), { seed: 'renews', clock, stop: stop.signal })
  const renewed = new Set<string>()
  const onEvent = (event: FleetEvent): void => {
    run.onEvent?.(event)
    if (event.kind === 'renewed') renewed.add(event.device)
    if (renewed.size === 2) stop.abort()
  }
  const report = await runFleet({ ...run, onEvent })
  expect(report.renewed).toBeGreaterThanOrEqual(2)
  expect(report).toMatchObject({ errors: 0, refused: { enroll: {}, https: {}, mqtt: {} } })
  for (const event of run.events)
    if (event.kind === 'renewed') {
      expect(event.notAfter).toBeGreaterThanOrEqual(event.before)
      expect(event.millis).toBeGreaterThan(0)
    }
})

test('sees a revocation in the middle: cut, then refused, and keeps calm', async () => {
  const stop = new AbortController()
  const wanted = new Set(['mqtt refused', 'https refused', 'cut'])
  let revoked = false
  const onEvent = (event: FleetEvent): void => {
    if (event.kind === 'delivered' && !revoked) {
      revoked = true
      void Promise.all(['0001', '0002'].map((n) => operator().revoke(`sim-drilled-${n}`)))
    }
    if (event.kind === 'refused') wanted.delete(`${event.door} refused`)
    if (event.kind === 'cut') wanted.delete('cut')
    if (wanted.size === 0) stop.abort()
  }
  const report = await runFleet({
    ...(await options(quick(2), { seed: 'drilled', onEvent })),
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(15_000)]),
  })
  expect([...wanted]).toEqual([])
  expect(Object.keys(report.refused.https)).toEqual(['certificate_revoked'])
  expect(Object.keys(report.refused.mqtt)).toEqual(['connack_5'])
  expect(report.errors).toBe(0)
}, 20_000)

test('ends at once when it is told to, saying nothing of what it left undone', async () => {
  const stop = new AbortController()
  const run = await options(quick(3), { seed: 'ends', signal: stop.signal })
  const onEvent = (event: FleetEvent): void => {
    run.onEvent?.(event)
    if (event.kind === 'admitted') stop.abort()
  }
  await runFleet({ ...run, onEvent })
  expect(run.events.filter(({ kind }) => kind === 'error' || kind === 'refused' || kind === 'cut')).toEqual(
    [],
  )
})

test('told to stop, it begins nothing new, and what was under way comes to its end', async () => {
  const stop = new AbortController()
  const run = await options(quick(4, { load: pace(5) }), { seed: 'drains', stop: stop.signal })
  let atStop = 0
  const onEvent = (event: FleetEvent): void => {
    run.onEvent?.(event)
    if (event.kind !== 'delivered' || event.seq < 3 || stop.signal.aborted) return
    atStop = run.events.length
    stop.abort()
  }
  const report = await runFleet({ ...run, onEvent })
  expect(report).toMatchObject({ cut: 0, errors: 0, refused: { enroll: {}, https: {}, mqtt: {} } })
  expect(report.delivered).toBe(report.published)
  // what was under way, and the goodbyes
  expect(run.events.length - atStop).toBeLessThan(12)
  expect(run.events.filter(({ kind }) => kind === 'left')).toHaveLength(report.admitted.mqtt)
})

test('with a duration everybody gathers first; then the load begins, and ends by itself', async () => {
  const gathered: string[] = []
  let startsAt = 0
  const run = await options(quick(4, { duration: 300, ramp: 0 }), { seed: 'gathers' })
  const ready = async (): Promise<number> => {
    gathered.push(...run.events.map(({ kind }) => kind))
    startsAt = systemClock() + 150
    return startsAt
  }
  const report = await runFleet({ ...run, ready })
  expect(gathered).toEqual(['enrolled', 'enrolled', 'enrolled', 'enrolled'])
  const began = run.events.filter(({ kind }) => kind === 'admitted').map(({ at }) => at)
  // a timer may be a little early
  expect(Math.min(...began)).toBeGreaterThan(startsAt - 5)
  expect(Math.max(...run.events.map(({ at }) => at))).toBeLessThan(startsAt + 300 + 1_000)
  expect(report).toMatchObject({ errors: 0, cut: 0 })
  expect(report.delivered).toBe(report.published)
})

test.each([0, 1] as const)(
  'an open loop at QoS %d: as many turns as the rate says, and all of them arrive',
  async (qos) => {
    const { mqtt } = calm()
    const load = createLoadCounts()
    const run = await options(
      quick(4, {
        duration: 500,
        ramp: 0,
        load: { kind: 'open', rate: 200, arrivals: 'constant' },
        mqtt: { ...mqtt, qos },
      }),
      { seed: `open${qos}`, load },
    )
    const report = await runFleet(run)
    expect(load).toMatchObject({ due: 100, dropped: 0 })
    expect(report.admitted.https + report.published + load.absent).toBe(100)
    // that were due before they had come
    expect(load.absent).toBeLessThanOrEqual(20)
    expect(report.admitted.mqtt).toBe(2)
    expect(report).toMatchObject({ errors: 0, cut: 0, refused: { enroll: {}, https: {}, mqtt: {} } })
    expect(report.delivered).toBe(report.published)
    expect(run.events.some(({ kind }) => kind === 'burst')).toBe(qos === 0)
  },
)

test('a session that stays at the broker is found again by the next run', async () => {
  const { mqtt } = calm()
  const scenario = quick(1, { doors: { https: 0, mqtt: 1 }, mqtt: { ...mqtt, clean: false } })
  const run = await options(scenario, { stateDir: join(home, 'stays'), rounds: 2 })
  const first = await runFleet(run)
  const second = await runFleet({ ...run, credentials: {} })
  const listening = run.events.filter((event) => event.kind === 'listening')
  expect(listening.map(({ present }) => present)).toEqual([false, true])
  for (const report of [first, second]) expect(report).toMatchObject({ published: 2, delivered: 2, cut: 0 })
})

describe('faults', () => {
  test('offline and back, dropped and made again, renewed out of turn: each device says what happened to it', async () => {
    const when = { lasts: undefined, share: 1 }
    const scenario = quick(2, {
      duration: 10_000,
      ramp: 0,
      timeline: [
        { ...when, kind: 'reconnect', at: 200 },
        { ...when, kind: 'offline', at: 350, lasts: 250 },
        { ...when, kind: 'renew', at: 700, newKey: true },
      ],
    })
    const stop = new AbortController()
    const run = await options(scenario, { seed: 'faults', stop: stop.signal })
    const onEvent = (event: FleetEvent): void => {
      run.onEvent?.(event)
      if (run.events.filter(({ kind }) => kind === 'renewed').length === 2) stop.abort()
    }
    const report = await runFleet({ ...run, onEvent })
    expect(report).toMatchObject({ renewed: 2, cut: 0, errors: 0 })
    expect(report.refused).toEqual({ enroll: {}, https: {}, mqtt: {} })
    for (const device of ['sim-faults-0001', 'sim-faults-0002']) {
      const own = run.events.filter((event) => event.device === device)
      const first = (kind: FleetEvent['kind']): number => own.find((event) => event.kind === kind)?.at ?? 0
      // nothing begins while it is away; a connection ends
      const meanwhile = own.filter(({ at }) => at > first('away') && at < first('back'))
      expect(meanwhile.filter(({ kind }) => kind !== 'left')).toEqual([])
      expect(first('back')).toBeGreaterThan(first('away'))
      expect(first('renewed')).toBeGreaterThan(first('back'))
    }
    const visits = run.events.filter((event) => event.kind === 'admitted' && event.door === 'mqtt')
    // when it was back, with its new certificate; and before, on a machine that was quick enough
    expect(visits.length).toBeGreaterThanOrEqual(2)
    expect(run.events.filter(({ kind }) => kind === 'left')).toHaveLength(visits.length)
  })

  test('a copy that renews is let loose; of the two, whoever comes second is told', async () => {
    const when = { lasts: undefined, share: 1 }
    const scenario = quick(1, {
      duration: 10_000,
      ramp: 0,
      doors: { https: 1, mqtt: 0 },
      timeline: [
        { ...when, kind: 'clone', rival: 'renewal', at: 20 },
        { ...when, kind: 'renew', newKey: true, at: 250 },
      ],
    })
    const stop = new AbortController()
    const told: string[] = []
    const onEvent = (event: FleetEvent): void => {
      if (event.kind === 'cloned') told.push(`copy ${event.outcome}`)
      if (event.kind === 'renewed') told.push('original renewed')
      if (event.kind === 'refused') told.push(`original ${event.reason}`)
      if (told.length === 2) stop.abort()
    }
    await runFleet(await options(scenario, { stop: stop.signal, onEvent }))
    expect([
      ['copy admitted', 'original clone_suspected'],
      // on a machine that is slow enough
      ['original renewed', 'copy clone_suspected'],
    ]).toContainEqual(told)
  })
})

test('a device that tries to listen to others is kept out, and goes on with its own', async () => {
  const run = await options(quick(1, { doors: { https: 0, mqtt: 1 } }), { rounds: 1, triesOthers: true })
  const report = await runFleet(run)
  expect(report).toMatchObject({ published: 1, delivered: 1, cut: 0, refused: { mqtt: {} } })
  const tried = run.events.filter(({ kind }) => kind === 'kept_out' || kind === 'stray')
  expect(tried.map(({ kind }) => kind)).toEqual(['kept_out', 'kept_out'])
})

test('what was done to its devices is passed on', async () => {
  const run = await options(quick(1), { rounds: 1, seed: 'told' })
  const event = { kind: 'suspended', device: 'sim-told-0001', at: 1 } as const
  await runFleet({ ...run, told: (listen) => listen(event) })
  expect(run.events[0]).toEqual(event)
})

test.each(['stop', 'signal'] as const)('%s ends the wait for a start that never comes', async (how) => {
  const ender = new AbortController()
  const ready = (): Promise<number> => {
    ender.abort()
    return Promise.withResolvers<number>().promise
  }
  const run = await options(quick(2, { duration: 60_000 }), { [how]: ender.signal })
  expect(await runFleet({ ...run, ready })).toMatchObject({ enrolled: 2, admitted: { https: 0, mqtt: 0 } })
})

test('devices to enrol and no token is said, not tried', async () => {
  const run = await options(quick(1), { seed: 'poor', credentials: {} })
  await expect(runFleet(run)).rejects.toMatchObject({ code: 'config_invalid' })
})

test('a token with too few uses: some are refused by name, the others work', async () => {
  const { token } = await operator().createToken({ uses: 1 })
  const run = await options(quick(2), { credentials: { token }, seed: 'short', rounds: 1 })
  expect(await runFleet(run)).toMatchObject({
    enrolled: 1,
    refused: { enroll: { token_spent: 1 } },
  })
})

test('a desk that nobody answers at is trouble, and each attempt a turn', async () => {
  const nowhere = {
    enroll: 'https://127.0.0.1:1',
    https: 'https://127.0.0.1:1',
    mqtts: 'mqtts://127.0.0.1:1',
  }
  const run = await options(quick(2), { targets: nowhere, rounds: 2, seed: 'nowhere' })
  expect(await runFleet(run)).toMatchObject({ enrolled: 0, errors: 4 })
})

test.each(['', 'Upper', 'a b', '../x', 'x'.repeat(33)])('seed %j is refused', async (seed) => {
  const run = runFleet({ targets: targets(), scenario: quick(0), credentials: {}, seed, signal: never })
  await expect(run).rejects.toMatchObject({ code: 'config_invalid' })
})

test('no devices is no run', async () => {
  const none = { targets: targets(), scenario: quick(0), credentials: {}, seed: 'none', signal: never }
  expect(await runFleet(none)).toMatchObject({ enrolled: 0, errors: 0 })
})
