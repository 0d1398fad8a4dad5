/** A claim token that a killed run has left ends soon after the run would have. */

import { expect, test } from 'vitest'
import { tokenLife } from '#device-sim/coordinator/provisions.ts'
import { quick } from '../../../support/simulation.ts'

test.each([
  [{ devices: 1, ramp: 0, duration: undefined }, '24h'],
  [{ devices: 0, ramp: 0, duration: 1 }, '601s'],
  [{ devices: 100, ramp: 5_000, duration: 60_000 }, '675s'],
  [{ devices: 100_000, ramp: 60_000, duration: 3_600_000 }, '14260s'],
])('%o: %s', (scenario, expected) => {
  expect(tokenLife(quick(scenario))).toBe(expected)
})
