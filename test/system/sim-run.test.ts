/** A simulated fleet against the real desks: it enrols once, goes on with what it has, renews, and ends when it is told to. */

import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DAY, systemClock } from '#fleet/clock.ts'
import {
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
} from '#device-sim/index.ts'
import { startStack, type Stack } from '#cli/up/stack.ts'
import { temporaryFolder } from '../support/temporary.ts'

const QUICK = { ramp: 100, pace: 50 }

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

test('enrols once; a second run goes on with the same keys, and needs no token', async () => {
  const stateDir = join(home, 'fleet')
  const { token } = await operator().createToken({ uses: 4 })
  const meter = createMeter()
  const common = { targets: targets(), devices: 4, stateDir, override: QUICK, signal: never, meter }
  const first = await runFleet({ ...common, token, seed: 'kept', rounds: 2 })
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

  const second = await runFleet({ ...common, rounds: 1 })
  expect(second).toMatchObject({ enrolled: 0, reused: 4, admitted: { https: 2, mqtt: 2 }, errors: 0 })
  expect(await files()).toEqual(before)
  expect(meter.figures()).toMatchObject({ resumed: 0, tokensReturned: 0 })
})

test('renews when renew_after has passed', async () => {
  const { token } = await operator().createToken({ uses: 2 })
  // the device's own clock, past the window: the certificate is not due by the server's
  const clock = () => systemClock() + 26 * DAY
  const report = await runFleet({
    targets: targets(),
    token,
    devices: 2,
    seed: 'renews',
    rounds: 1,
    override: QUICK,
    clock,
    signal: never,
  })
  // by MQTT a device looks before it connects, and again after each publication
  expect(report.renewed).toBeGreaterThanOrEqual(2)
  expect(report).toMatchObject({ admitted: { https: 1, mqtt: 1 }, errors: 0 })
})

test('sees a revocation in the middle: cut, then refused, and keeps calm', async () => {
  const { token } = await operator().createToken({ uses: 2 })
  const stop = new AbortController()
  const events: FleetEvent[] = []
  const wanted = new Set(['mqtt refused', 'https refused', 'cut'])
  let revoked = false
  const onEvent = (event: FleetEvent): void => {
    events.push(event)
    if (event.kind === 'delivered' && !revoked) {
      revoked = true
      void Promise.all(['0001', '0002'].map((n) => operator().revoke(`sim-drilled-${n}`)))
    }
    if (event.kind === 'refused') wanted.delete(`${event.door} refused`)
    if (event.kind === 'cut') wanted.delete('cut')
    if (wanted.size === 0) stop.abort()
  }
  const run = { targets: targets(), token, devices: 2, seed: 'drilled', override: QUICK, onEvent }
  const report = await runFleet({
    ...run,
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(15_000)]),
  })
  expect([...wanted]).toEqual([])
  expect(Object.keys(report.refused.https)).toEqual(['certificate_revoked'])
  expect(Object.keys(report.refused.mqtt)).toEqual(['connack_5'])
  expect(report.errors).toBe(0)
}, 20_000)

test('ends at once when it is told to, saying nothing of what it left undone', async () => {
  const { token } = await operator().createToken({ uses: 3 })
  const stop = new AbortController()
  const events: FleetEvent[] = []
  const onEvent = (event: FleetEvent): void => {
    events.push(event)
    if (event.kind === 'admitted') stop.abort()
  }
  await runFleet({ targets: targets(), token, devices: 3, seed: 'ends', onEvent, signal: stop.signal })
  expect(events.filter(({ kind }) => kind === 'error' || kind === 'refused' || kind === 'cut')).toEqual([])
})

test('devices to enrol and no token is said, not tried', async () => {
  const run = { targets: targets(), devices: 1, seed: 'poor', override: QUICK, signal: never }
  await expect(runFleet(run)).rejects.toMatchObject({ code: 'config_invalid' })
})

test('a token with too few uses: some are refused by name, the others work', async () => {
  const { token } = await operator().createToken({ uses: 1 })
  const run = { targets: targets(), token, devices: 2, seed: 'short', rounds: 1, override: QUICK }
  expect(await runFleet({ ...run, signal: never })).toMatchObject({
    enrolled: 1,
    refused: { enroll: { token_spent: 1 } },
  })
})

test.each(['', 'Upper', 'a b', '../x', 'x'.repeat(33)])('seed %j is refused', async (seed) => {
  const run = runFleet({ targets: targets(), devices: 0, seed, signal: never })
  await expect(run).rejects.toMatchObject({ code: 'config_invalid' })
})

test('no devices is no run', async () => {
  const report = await runFleet({ targets: targets(), devices: 0, seed: 'none', signal: never })
  expect(report).toMatchObject({ enrolled: 0, errors: 0 })
})
