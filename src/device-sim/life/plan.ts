/** Which devices a run has and when each acts: a pure function of (scenario, seed), so that a run can be repeated. */

import type { KeyKind } from '#fleet/certificate.ts'
import { createRandom } from '../random.ts'
import type { Scenario } from '../scenario/scenarios.ts'

export type DevicePlan = {
  readonly id: string
  readonly door: 'https' | 'mqtt'
  readonly keyKind: KeyKind
  /** ms after the start of the run */
  readonly start: number
  /** the next wait, ms */
  wait(): number
}

/** Mostly the default, as in the field; one of each other kind in every ten, so that all are tried. */
const KINDS: readonly KeyKind[] = [
  ...(['P-256', 'P-256', 'P-384', 'P-256', 'P-521'] as const),
  ...(['P-256', 'Ed25519', 'P-256', 'RSA', 'P-256'] as const),
]

/** The first `devices` of the fleet of `seed`: a larger fleet begins with the smaller one. */
export const planFleet = (scenario: Scenario, devices: number, seed: string): readonly DevicePlan[] =>
  Array.from({ length: devices }, (_, at) => {
    const random = createRandom(seed, `device ${at}`)
    const { pace, jitter, mqttShare, ramp } = scenario
    return {
      id: `sim-${seed}-${String(at + 1).padStart(4, '0')}`,
      // spread evenly, and device by device the same whatever the size of the fleet
      door: Math.floor((at + 1) * mqttShare) > Math.floor(at * mqttShare) ? 'mqtt' : 'https',
      keyKind: KINDS[at % KINDS.length] as KeyKind,
      start: devices === 0 ? 0 : (ramp * at) / devices,
      wait: () => pace * random.between(1 - jitter, 1 + jitter),
    }
  })
