/**
 * Runs a simulated fleet through the public doors, as strangers would: every device with its own key, at a seeded pace.
 * Not the judge of what it sees: drills assert, a run reports.
 */

import { setMaxListeners } from 'node:events'
import { systemClock, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { createTally, type FleetEvent, type FleetReport } from '../events.ts'
import { httpsLife } from './https-life.ts'
import type { Targets } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import { mqttLife } from './mqtt-life.ts'
import { planFleet } from './plan.ts'
import { SCENARIOS, type Scenario, type ScenarioName } from '../scenario/scenarios.ts'
import { openState } from './state.ts'
import { createDevice, type RunScope } from './virtual-device.ts'
import { createGate, pause } from '../waiting.ts'

export type FleetOptions = {
  readonly targets: Targets
  /** the root to look for the token's pin in; without it the server is asked, and held to the pin */
  readonly rootPem?: string | undefined
  /** unbound, with as many uses as there are devices to enrol; not needed once all are in the state */
  readonly token?: string | undefined
  readonly devices: number
  /** `[a-z0-9]{1,32}`; names the fleet and its pace. Without it the state's, or a random one */
  readonly seed?: string | undefined
  readonly scenario?: ScenarioName | undefined
  /** what the scenario says, overridden */
  readonly override?: Partial<Omit<Scenario, 'summary'>> | undefined
  /** keys and certificates are kept here; a second run goes on with them */
  readonly stateDir?: string | undefined
  /** turns each device has before the run ends by itself */
  readonly rounds?: number | undefined
  readonly meter?: Meter | undefined
  readonly clock?: Clock | undefined
  readonly signal: AbortSignal
  readonly onEvent?: ((event: FleetEvent) => void) | undefined
}

/** Enrolments under way at once: a fleet is no reason to be a flood. */
const ENROLLING = 8

const checkedSeed = (seed: string): string => {
  if (/^[a-z0-9]{1,32}$/.test(seed)) return seed
  throw new FleetError('config_invalid', `seed: got ${JSON.stringify(seed)}, expected 1 to 32 of a-z 0-9`)
}

/**
 * Ends when the signal fires, or when every device has had its turns or was refused an identity. Nothing is left open.
 * @throws `config_invalid`: a bad seed, a state of another seed, devices to enrol and no token
 */
export const runFleet = async (o: FleetOptions): Promise<FleetReport & { readonly seed: string }> => {
  const state = await openState(o.stateDir)
  const seed = checkedSeed(await state.seed(o.seed === undefined ? undefined : checkedSeed(o.seed)))
  const tally = createTally()
  const broken = new AbortController()
  const signal = AbortSignal.any([o.signal, broken.signal])
  // each device waits on it, and there may be ten thousand
  setMaxListeners(0, signal)
  const scope: RunScope = {
    targets: o.targets,
    rootPem: o.rootPem,
    token: o.token,
    state,
    clock: o.clock ?? systemClock,
    signal,
    meter: o.meter,
    rounds: o.rounds ?? Infinity,
    emit(event) {
      tally.add(event)
      o.onEvent?.(event)
    },
  }
  const gate = createGate(ENROLLING)
  const scenario = { ...SCENARIOS[o.scenario ?? 'calm'], ...o.override }

  const lives = planFleet(scenario, o.devices, seed).map(async (plan) => {
    try {
      await pause(plan.start, signal)
      const device = await createDevice(plan, scope, gate)
      if (device !== undefined) await (plan.door === 'mqtt' ? mqttLife : httpsLife)(device)
    } catch (error) {
      // one device that cannot go on for a reason that is ours ends the run, and the others with it
      broken.abort(error)
      throw error
    }
  })
  const ends = await Promise.allSettled(lives)
  const failure = ends.find((end) => end.status === 'rejected')
  if (failure !== undefined) throw failure.reason
  return { ...tally.report(), seed }
}
