/** A drill that was not tried has not passed: what is skipped, with which reason, and what is a failure of the run. */

import { expect, test } from 'vitest'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Operator } from '#device-sim/client/operator.ts'
import type { Staging } from '#device-sim/client/staging.ts'
import { createMeter } from '#device-sim/client/meter.ts'
import { runScenarioDrills } from '#device-sim/coordinator/drilling.ts'
import type { Provisions } from '#device-sim/coordinator/provisions.ts'

const NOWHERE = { enroll: 'https://localhost:1', https: 'https://localhost:1', mqtts: 'mqtts://localhost:1' }

const run = (
  names: readonly string[],
  staging: Partial<Staging> | undefined,
  more: Partial<Provisions> = {},
) => {
  const provisions = {
    credentials: {},
    rootPem: '',
    operator: {} as Operator,
    staging,
    ...more,
  } as Provisions
  const signal = new AbortController().signal
  return runScenarioDrills(names, { targets: NOWHERE, provisions, duration: 1, meter: createMeter(), signal })
}
const token = (code?: ErrorCode) => (): Promise<string> =>
  code === undefined ? Promise.resolve('spt1.x.y.z') : Promise.reject(new FleetError(code, 'because'))

test('an operator who is no admin: what stages is skipped, and says why; the rest is tried', async () => {
  const { drills, skipped } = await run(['policies', 'no_certificate'], { isAdmin: false, token: token() })
  expect(skipped).toEqual({ policies: expect.stringContaining('role admin') as string })
  // it has nowhere to go
  expect(drills).toMatchObject([{ expectation: 'no_certificate', held: false }])
})

test('drills none of which could be tried have not held', async () => {
  const { drills, skipped } = await run(['policies'], { isAdmin: false, token: token() })
  expect(Object.keys(skipped)).toEqual(['policies'])
  expect(drills).toMatchObject([{ expectation: 'drills', held: false }])
})

test.each<[ErrorCode, string]>([
  ['registry_unavailable', 'drills.token'],
  ['target_unreachable', 'drills.token'],
  ['internal', 'drills.token'],
  ['forbidden', 'drills'],
])('a claim token that was not to be had, for %s, is a failed %s', async (code, expectation) => {
  const { drills, skipped } = await run(['policies', 'no_certificate'], { isAdmin: true, token: token(code) })
  expect(Object.keys(skipped)).toEqual(['no_certificate', 'policies'])
  expect(drills).toEqual([{ expectation, held: false, evidence: expect.stringContaining(code) as string }])
})

test('without anything to enrol with, none of them has held', async () => {
  expect(await run(['policies'], undefined)).toMatchObject({
    drills: [{ expectation: 'drills', held: false }],
  })
})
