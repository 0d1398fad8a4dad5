/**
 * The simulator's drills that the demo does not run, and its ways to enrol, against the real desks: what each expects is so, and nothing of it is
 * left behind. That a drill notices a faulty gateway: test/unit/device-sim/drills.
 */

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DAY, systemClock } from '#fleet/clock.ts'
import { clientContext } from '#device-sim/client/connection.ts'
import { confirmDevice } from '#device-sim/client/enroll-device.ts'
import { enrollByEst, renewByEst } from '#device-sim/client/enroll-est.ts'
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
import { startFleet, type Fleet } from '../support/fleet.ts'

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
  const names = await Promise.all(KINDS.map((kind) => operator().names(kind)))
  return names.flat().filter((name) => name.startsWith('sim-'))
}

/** the others are in every run of demo.test.ts */
const HERE = DRILLS.filter(({ needs }) => needs.some((need) => need === 'staging' || need === 'patience'))

test('what the demo does not drill holds, side by side; what was staged is gone afterwards', async () => {
  const expectations = createExpectations()
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
  expect(expectations.report().passed).toBeGreaterThan(35)
  expect(meter.figures()).toMatchObject({ resumed: 0, tokensReturned: 0 })
  // a group that devices are in stays, for them to renew by
  expect((await staged()).map((name) => name.replace(/^sim-\w+-\w+-/, ''))).toEqual(['claim-2'])
}, 30_000)

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

    const renewed = await renewByEst({ server: fleet.urls.devices, enrolled, newKey: true })
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
    const named = (at: number): string => `sim-${Math.floor(at / 1_000).toString(36)}-killed-mine`
    const old = named(systemClock() - 2 * DAY)
    const young = named(systemClock() - DAY / 2)
    for (const name of [old, young])
      await operator().put('policies', name, { decision: 'deny', include: [{ everyone: {} }] })
    await using _ = await staging()
    const names = await operator().names('policies')
    expect([names.includes(old), names.includes(young)]).toEqual([false, true])
    await operator().remove('policies', young)
  })
})

test('a rival: renews before the device does; is admitted in its place; is refused when it is revoked', async () => {
  const original = await fleet.enroll('stolen')
  const { https: _, ...rest } = targets()
  const asking = { copy: original, server: rest.enroll, url: rest.mqtts, stays: 10 }
  expect(await rivalConnection(asking)).toBe('admitted')
  expect(await rivalRenewal(asking)).toBe('renewed')
  expect(await rivalRenewal(asking)).toBe('renewed')
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
