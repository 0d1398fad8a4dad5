/**
 * The simulator's drills that the demo does not run, and its ways to enrol, against the real desks: what each expects is so, and nothing of it is
 * left behind. That a drill notices a faulty gateway: test/unit/device-sim/drills.
 */

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DAY, systemClock } from '#fleet/clock.ts'
import { clientContext } from '#device-sim/client/connection.ts'
import { confirmDevice, renewDevice } from '#device-sim/client/enroll-device.ts'
import { enrollByEst } from '#device-sim/client/enroll-est.ts'
import { enrollByMqtt, renewByMqtt } from '#device-sim/client/enroll-mqtt.ts'
import { httpsOnce } from '#device-sim/client/https-once.ts'
import type { Enrolled } from '#device-sim/client/identity.ts'
import { newKey } from '#device-sim/client/key.ts'
import { createMeter } from '#device-sim/client/meter.ts'
import { mqttConnect } from '#device-sim/client/mqtt-connect.ts'
import { createOperator, issuerFor, type NamedKind } from '#device-sim/client/operator.ts'
import { rivalConnection, rivalRenewal } from '#device-sim/client/rival.ts'
import { openStaging } from '#device-sim/client/staging.ts'
import { runDrills } from '#device-sim/drills/drill.ts'
import { createExpectations } from '#device-sim/drills/expectations.ts'
import { createLedger } from '#device-sim/drills/ledger.ts'
import { createStage } from '#device-sim/drills/stage.ts'
import { DRILLS } from '#device-sim/drills/table.ts'
import { loadScenario, override } from '#device-sim/index.ts'
import { startFleet, type Fleet } from '../support/fleet.ts'
import { MOSQUITTO, startMosquitto } from '../support/mosquitto.ts'
import { invariant, simulated } from '../support/simulation.ts'

let fleet: Fleet
beforeAll(async () => {
  // slow_request waits for it
  fleet = await startFleet({ env: { SALLYPORT_LIMITS_HEADER_TIMEOUT: '2s' } })
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const never = new AbortController().signal
const run = (): string => randomBytes(4).toString('hex')
const operator = () =>
  createOperator({ url: fleet.urls.operator, token: fleet.operatorToken, rootPem: fleet.rootPem })
const staging = () => openStaging({ operator: operator(), run: run(), clock: systemClock })
const targets = () => ({ enroll: fleet.urls.devices, https: fleet.urls.https, mqtts: fleet.urls.mqtts })

const KINDS: readonly NamedKind[] = ['anchors', 'applications', 'policies', 'groups']
const staged = async (): Promise<string[]> => {
  const lists = await Promise.all(KINDS.map((kind) => operator().list(kind)))
  return lists
    .flatMap((items) => items.map(({ name }) => name))
    .filter((name) => name.startsWith('sallyport-sim-'))
}

/** the others are in every run of demo.test.ts */
const HERE = DRILLS.filter(({ needs }) => needs.some((need) => need === 'staging' || need === 'patience'))

const CONTROLS = [
  ...[
    'bad_certificates.good',
    'foreign_crl.not_listed',
    'foreign_crl.twin',
    'policies.nobody.good',
    'policies.denied.good',
  ].flatMap((name) => [`${name}.https`, `${name}.mqtt`]),
  ...['another_key', 'another_csr', 'another_group', 'foreign_nonce', 'longer_nonce'].map(
    (name) => `mqtt_enrolment.proof.${name}`,
  ),
  'mqtt_enrolment.admitted',
  'mqtt_enrolment.foreign_group',
  'mqtt_enrolment.publish',
  'mqtt_enrolment.quota',
  'foreign_crl.forged',
  'policies.ambiguous_path.https',
  'policies.path.https',
  'slow_request.https.unhurried',
]

test('what the demo does not drill holds, side by side; what was staged is gone afterwards', async () => {
  const checked = new Set<string>()
  const expectations = createExpectations((name) => void checked.add(name))
  const meter = createMeter()
  const token = await fleet.token({ uses: 50 })
  {
    await using own = await staging()
    // as a fleet beside the drills has one
    await own.claim({ certificates: 1 })
    const skipped = await runDrills(
      HERE,
      (_drill, signal) =>
        createStage({
          targets: targets(),
          rootPem: fleet.rootPem,
          token,
          operator: operator(),
          staging: own,
          patience: true,
          run: run(),
          meter,
          ledger: createLedger(),
          expectations,
          clock: systemClock,
          signal,
        }),
      never,
    )
    expect(skipped).toEqual([])
  }
  expect(expectations.report().evidence).toEqual({})
  for (const { name } of HERE) expect([...checked]).toContain(name)
  // what every other refusal beside it is held against
  expect([...checked]).toEqual(expect.arrayContaining([...CONTROLS]))
  expect(meter.figures()).toMatchObject({ resumed: 0, tokensReturned: 0 })
  // a group that devices are in stays, for them to renew by
  expect((await staged()).map((name) => name.replace(/^sallyport-sim-\w+-\w+-\w+-/, ''))).toEqual(['claim-2'])
}, 30_000)

test.skipIf(MOSQUITTO === undefined)(
  'mqtt_frames hears in MQTT 5, of a broker that speaks it, that it is the door that ends the connection',
  async () => {
    await using broker = await startMosquitto()
    await using stack = await startFleet({
      env: { SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${broker.port}` },
    })
    const expectations = createExpectations()
    const { devices: enroll, https, mqtts } = stack.urls
    const common = {
      targets: { enroll, https, mqtts },
      rootPem: stack.rootPem,
      token: await stack.token({ uses: 2 }),
    }
    const meter = createMeter()
    const ledger = createLedger()
    await runDrills(
      DRILLS.filter(({ name }) => name === 'mqtt_frames'),
      (_, signal) =>
        createStage({ ...common, run: run(), meter, ledger, expectations, clock: systemClock, signal }),
      never,
    )
    expect(expectations.report()).toMatchObject({ evidence: {}, passed: 15 })
  },
  20_000,
)

const getsIn = async (identity: Enrolled): Promise<void> => {
  const context = clientContext({ rootPem: identity.rootPem, identity })
  expect(await httpsOnce({ url: `${fleet.urls.https}/hello`, context })).toMatchObject({ status: 200 })
  const outcome = await mqttConnect({ url: fleet.urls.mqtts, context, clientId: identity.deviceId })
  expect(outcome).toMatchObject({ accepted: true, resumed: false })
  if (outcome.accepted) await outcome.link.close()
}

describe('EST', () => {
  test('enrols, asks again for a lost answer, gets in, renews with a new key', async () => {
    const token = await fleet.token({ uses: 1 })
    const asking = { server: fleet.urls.devices, id: 'est:by-hand', token, keyPem: await newKey('P-384') }
    const enrolled = await enrollByEst(asking)
    expect(enrolled).toMatchObject({ deviceId: 'est:by-hand', rootPem: fleet.rootPem })
    expect(enrolled.chainPem.match(/BEGIN/g)).toHaveLength(1)
    const life = enrolled.notAfter - enrolled.renewAfter
    expect(life / DAY).toBeCloseTo(10, 1)
    expect((await enrollByEst(asking)).serial).toBe(enrolled.serial)
    await getsIn(enrolled)
    const device = await operator().device('est:by-hand')
    expect(device.certificates.map(({ serial }) => serial)).toEqual([enrolled.serial])

    const renewed = await renewDevice({ server: fleet.urls.devices, enrolled, newKey: true })
    expect(renewed.keyPem).not.toBe(enrolled.keyPem)
    await getsIn(renewed)
  })

  test('a request that an operator decides about is waited for, or given up', async () => {
    await operator().put('groups', 'asked', { credentials: ['token'], approval: true, est_labels: ['asked'] })
    const token = await fleet.token({ group: 'asked' })
    const asking = { server: fleet.urls.devices, token, rootPem: fleet.rootPem, label: 'asked' }
    const own = { ...asking, id: 'est-waits', keyPem: await newKey('P-256') }
    await expect(enrollByEst(own)).rejects.toMatchObject({ code: 'rate_limited', retryAfter: 15 })
    const gone = new AbortController()
    const waiting = enrollByEst({
      ...own,
      signal: gone.signal,
      onWaiting: ({ requestId, retryAfter }) => {
        expect([typeof requestId, retryAfter]).toEqual(['string', 15])
        gone.abort()
      },
    })
    await expect(waiting).rejects.toMatchObject({ code: 'target_unreachable' })
  })
})

describe('MQTT', () => {
  test('a claim certificate enrols, the device gets in and renews; the group outlives the run, and takes nobody', async () => {
    const via = { url: fleet.urls.mqtts, server: fleet.urls.devices, rootPem: fleet.rootPem }
    const keyPem = await newKey('Ed25519')
    const own = await staging()
    const { identity: claim, group } = await own.claim({ certificates: 5, certificateTtl: '1h' })
    const enrolled = await enrollByMqtt({ ...via, id: 'mqtt-by-hand', claim, group, keyPem })
    expect(enrolled.notAfter - systemClock()).toBeLessThan(DAY)
    await getsIn(enrolled)
    const renewed = await renewByMqtt({ ...via, enrolled, newKey: true })
    await confirmDevice({ server: fleet.urls.devices, enrolled: renewed })
    await getsIn(renewed)

    await own[Symbol.asyncDispose]()
    expect(await staged()).toContain(group)
    const late = enrollByMqtt({ ...via, id: 'mqtt-late', claim, group, keyPem: await newKey('P-256') })
    await expect(late).rejects.toMatchObject({ code: 'forbidden' })
    const again = await renewByMqtt({ ...via, enrolled: renewed, newKey: true })
    expect(again.serial).not.toBe(renewed.serial)
  })

  test('every kind of key signs for itself', async () => {
    await using own = await staging()
    const { identity, group } = await own.claim({ certificates: 5 })
    for (const kind of ['RSA', 'P-521'] as const) {
      const keyPem = await newKey(kind)
      const via = { url: fleet.urls.mqtts, server: fleet.urls.devices, rootPem: fleet.rootPem }
      const id = `mqtt-${kind.toLowerCase()}`
      const enrolled = await enrollByMqtt({ ...via, id, claim: identity, group, keyPem })
      await confirmDevice({ server: fleet.urls.devices, enrolled })
      // the signature of a renewal is by the device's own key
      expect((await renewByMqtt({ ...via, enrolled })).serial).not.toBe(enrolled.serial)
    }
  })
})

describe('staging', () => {
  test('is taken down though the run was ended in the middle; nothing more is made after that', async () => {
    const before = await staged()
    const own = await staging()
    const token = await own.token({ uses: 2 })
    const policy = own.policy('mine', { decision: 'deny', include: [{ certificate: {} }] })
    await own[Symbol.asyncDispose]()
    await policy
    expect(await staged()).toEqual(before)
    await expect(own.policy('late', { decision: 'deny', include: [{ everyone: {} }] })).rejects.toThrow(
      'over',
    )
    const asking = { server: fleet.urls.devices, id: 'too-late', token, keyPem: await newKey('P-256') }
    await expect(enrollByEst(asking)).rejects.toMatchObject({ code: 'token_revoked' })
  })

  test('removes what a killed run left a day ago, and nothing newer', async () => {
    const named = (at: number): string =>
      `sallyport-sim-${Math.floor(at / 1_000).toString(36)}-killed-0123abcd-mine`
    const old = named(systemClock() - 2 * DAY)
    const young = named(systemClock() - DAY / 2)
    for (const name of [old, young])
      await operator().put('policies', name, { decision: 'deny', include: [{ everyone: {} }] })
    await using _ = await staging()
    const names = (await operator().list('policies')).map(({ name }) => name)
    expect([names.includes(old), names.includes(young)]).toEqual([false, true])
    await operator().remove('policies', young)
  })
})

test('what other runs and other people have called in other ways, or in ours for themselves, stays', async () => {
  const policy = { decision: 'deny', include: [{ everyone: {} }] } as const
  const names = ['sim-device-x', 'sim-sensor-x', 'sim-000000-x', 'sallyport-sim-device-x']
  for (const name of names)
    await operator().put('policies', name, { ...policy, include: [...policy.include] })
  const old = Math.floor((systemClock() - 2 * DAY) / 1_000).toString(36)
  const copied = `sallyport-sim-${old}-killed-0123abcd-mine`
  await operator().put('applications', copied, {
    hostnames: ['api.example.com'],
    https: { path: '/*', origin: 'http://127.0.0.1:9' },
    policies: [],
  })
  {
    await using _ = await staging()
  }
  const there = (await operator().list('policies')).map(({ name }) => name)
  expect(there).toEqual(expect.arrayContaining(names))
  expect((await operator().list('applications')).map(({ name }) => name)).toContain(copied)
  await operator().remove('applications', copied)
  for (const name of names) await operator().remove('policies', name)
})

test('two runs of one name at one time do not take away what the other has made', async () => {
  const at = systemClock()
  const open = () => openStaging({ operator: operator(), run: 'same', clock: () => at })
  await using one = await open()
  const policy = { decision: 'deny' as const, include: [{ everyone: {} }] }
  const kept = await one.policy('p', policy)
  {
    await using two = await open()
    await two.policy('p', policy)
  }
  expect((await operator().list('policies')).map(({ name }) => name)).toContain(kept)
})

test('an operator who is no admin gives tokens, and stages nothing', async () => {
  const { token } = await fleet.operator.call<{ token: string }>('POST', '/v1/operators', {
    body: { name: 'sim-drills', role: 'operator' },
  })
  const lesser = createOperator({ url: fleet.urls.operator, token, rootPem: fleet.rootPem })
  await using own = await openStaging({ operator: lesser, run: run(), clock: systemClock })
  expect(own.isAdmin).toBe(false)
  expect(await own.token({ uses: 1 })).toMatch(/^spt1\./)
  await expect(own.claim({ certificates: 1 })).rejects.toMatchObject({ code: 'forbidden' })
})

test('stolen-key: copies renew and use it, or connect, and each is noticed when the original comes after', async () => {
  const whole = loadScenario('stolen-key', '/')
  const [renews, , originals] = whole.timeline
  expect([renews, originals]).toMatchObject([{ kind: 'clone', rival: 'renewal' }, { kind: 'renew' }])
  // long before, for a copy that comes second is refused and proves less
  expect((originals?.at ?? 0) - (renews?.at ?? 0)).toBeGreaterThan(10_000)

  // a copy has almost two seconds to renew before its original does, and that five more: a busy machine needs some of them
  const faster = whole.timeline.map((fault) => ({ ...fault, at: fault.at / 8 }))
  const report = await simulated({
    scenario: {
      ...override(whole, { devices: 40, ramp: 100, pace: 200 }),
      duration: 8_000,
      timeline: faster,
    },
    // by which the copied devices are on MQTT: there a copy beside the original shows
    seed: 'copies',
    targets: targets(),
    rootPem: fleet.rootPem,
    operator: { url: fleet.urls.operator, token: fleet.operatorToken, rootPem: fleet.rootPem },
  })
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
  const { checked, ...noticed } = invariant(report, 'clones_noticed')
  expect(noticed).toMatchObject({ held: true, broken: 0 })
  const renewed = report.timeline[0]?.devices ?? 0
  expect(renewed).toBeGreaterThan(0)
  expect(report.refused['enroll']).toEqual({ clone_suspected: renewed })
  // and some that connected
  expect(checked).toBeGreaterThan(renewed)
}, 60_000)

test('a rival: renews before the device does; is admitted in its place; is refused when it is revoked', async () => {
  const original = await fleet.enroll('stolen')
  const { https: _, ...rest } = targets()
  const asking = { copy: original, server: rest.enroll, url: rest.mqtts, stays: 10 }
  expect(await rivalConnection(asking)).toBe('admitted')
  expect(await rivalRenewal(asking)).toBe('renewed')
  // from here on the original has a successor that is not its own
  expect(await rivalRenewal({ ...asking, uses: true })).toBe('admitted')
  const late = renewDevice({ server: rest.enroll, enrolled: original, newKey: true })
  await expect(late).rejects.toMatchObject({ code: 'clone_suspected' })
  expect((await operator().device('stolen')).clone_suspected_at).toEqual(expect.any(String))
  await operator().revoke('stolen')
  expect(await rivalConnection(asking)).toBe('connack_5')
  expect(['certificate_revoked', 'device_revoked']).toContain(await rivalRenewal(asking))
  expect(await rivalConnection({ ...asking, url: 'mqtts://localhost:1' })).toBe('target_unreachable')
})

test('the issuers, and which one a step is for', async () => {
  const issuers = await operator().issuers()
  expect(issuers.map(({ state }) => state)).toEqual(['active'])
  for (const step of ['distribute', 'activate', 'retire'] as const)
    expect(issuerFor(issuers, step)).toBeUndefined()
  await expect(operator().moveIssuer(issuers[0]?.ski ?? '', 'distribute', true)).rejects.toMatchObject({
    code: 'conflict',
  })
})
