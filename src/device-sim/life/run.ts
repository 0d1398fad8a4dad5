/**
 * Runs a part of a simulated fleet through the public doors, as strangers would: every device with its own key, at the load that the scenario
 * says, under its faults. Not the judge of what it sees: that is whoever is told.
 */

import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { now } from '../clock.ts'
import type { Enrolled, Targets } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import { createOpeningGate } from '../client/opening-gate.ts'
import type { Credentials, Part } from '../coordinator/messages.ts'
import type { Sink } from '../events.ts'
import { createLoadCounts, type LoadCounts } from '../load/open.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { createGate } from '../waiting.ts'
import { createAgenda } from './agenda.ts'
import { createFleet } from './fleet.ts'
import { planFleet, type DevicePlan } from './plan.ts'
import type { FleetGauge, RunScope } from './run-scope.ts'
import { openState } from './state.ts'
import { createTally, type FleetReport } from './tally.ts'

export type FleetOptions = {
  readonly scenario: Scenario
  /** `[a-z0-9]{1,32}`; names the fleet and its pace. Without it the state's, or a random one */
  readonly seed?: string | undefined
  /** default: all devices */
  readonly part?: Part | undefined
  readonly targets: Partial<Targets>
  /** the root to look for the token's pin in; without it the server is asked, and held to the pin */
  readonly rootPem?: string | undefined
  /** not needed once all devices are in the state */
  readonly credentials: Credentials
  /** by number of the device: they are neither enrolled nor renewed */
  readonly given?: readonly Enrolled[] | undefined
  /** keys and certificates are kept here; a second run goes on with them */
  readonly stateDir?: string | undefined
  /** turns each device has before the run ends by itself */
  readonly rounds?: number | undefined
  /** of a request, with `{id}`; default: `/telemetry/<id>/<turn>` */
  readonly path?: string | undefined
  /** default: POST */
  readonly method?: 'GET' | 'POST' | undefined
  /** with `{id}`; default: `devices/{id}/telemetry` */
  readonly topic?: string | undefined
  /** A few devices try once to listen to others' topics. Default: they do. Not done where refusals are counted by somebody else. */
  readonly triesOthers?: boolean | undefined
  readonly meter?: Meter | undefined
  /** the devices', where theirs is right; default: the machine's */
  readonly clock?: Clock | undefined
  /** at once */
  readonly signal: AbortSignal
  /** no new turns: what is under way is waited for, within the drain of the scenario */
  readonly stop?: AbortSignal | undefined
  /**
   * With a duration, called once all devices have an identity or were refused one: resolves to the zero of all times, ms since the epoch.
   * Default: at once, now.
   */
  readonly ready?: (() => Promise<number>) | undefined
  /** hands over a sink for what others do to its devices */
  readonly told?: ((listen: Sink) => void) | undefined
  readonly onEvent?: Sink | undefined
  /** called for each device that a fault of the timeline befell, with the index of the fault */
  readonly onStruck?: ((index: number) => void) | undefined
  /** counts into it */
  readonly load?: LoadCounts | undefined
  /** is given the figures as they are, for as long as the run goes on */
  readonly gauge?: ((read: () => Readonly<FleetGauge>) => void) | undefined
}

/** at once: a fleet is no reason to be a flood */
const ENROLLING = 8
/** threads of libuv's pool by default */
const MAKING_KEYS = 4
const RENEWING = 64
/** ms after the drain for DISCONNECTs to be written: then what is still open is dropped */
const GOODBYE = 1_500

const checkedSeed = (seed: string): string => {
  if (/^[a-z0-9]{1,32}$/.test(seed)) return seed
  throw new FleetError('config_invalid', `seed: got ${JSON.stringify(seed)}, expected 1 to 32 of a-z 0-9`)
}

/** A certificate that was given says itself whose it is. @throws `config_invalid`: there are fewer of them than devices */
const named = (
  plans: readonly DevicePlan[],
  given: readonly Enrolled[] | undefined,
): readonly DevicePlan[] =>
  given === undefined
    ? plans
    : plans.map((plan) => {
        const own = given[plan.number]
        if (own !== undefined) return { ...plan, id: own.deviceId }
        throw new FleetError('config_invalid', `${given.length} certificates were given, for more devices`)
      })

/**
 * Ends when it was told to stop and nothing is under way; when the scenario's duration is over, the same; when every device has had its turns
 * or was refused an identity; at once with the signal. Nothing is left open.
 * @throws `config_invalid`: a bad seed, a state of another seed or of which no file can be read, devices to enrol and nothing to do it with, a door
 * that is not known, an empty root, a topic that is none
 */
export const runFleet = async (
  o: FleetOptions,
): Promise<FleetReport & { readonly seed: string; readonly unwritten: string | undefined }> => {
  const { scenario } = o
  if (o.rootPem === '') throw new FleetError('config_invalid', 'the root to trust is empty')
  const load = o.load ?? createLoadCounts()
  const state = await openState(o.stateDir)
  const seed = checkedSeed(await state.seed(o.seed === undefined ? undefined : checkedSeed(o.seed)))
  const tally = createTally()
  const gauge: FleetGauge = { devices: 0, connected: 0, underWay: 0 }
  using agenda = createAgenda(now)
  let drainEnds = Infinity
  const scope: RunScope = {
    scenario,
    targets: o.targets,
    rootPem: o.rootPem,
    credentials: o.credentials,
    given: o.given,
    state,
    clock: o.clock ?? now,
    meter: o.meter,
    rounds: o.rounds ?? Infinity,
    path: o.path,
    method: o.method ?? 'POST',
    topic: o.topic,
    triesOthers: o.triesOthers ?? true,
    began: now(),
    gauge,
    load,
    gates: {
      keys: createGate(MAKING_KEYS),
      enrolling: createGate(ENROLLING),
      renewing: createGate(RENEWING),
      opening: createOpeningGate(),
    },
    errands: new Set(),
    drainLeft: () => Math.max(0, drainEnds - now()),
    onStruck: (index) => o.onStruck?.(index),
    emit(event) {
      tally.add(event)
      o.onEvent?.(event)
    },
  }
  o.gauge?.(() => gauge)
  o.told?.(scope.emit)

  const fleet = createFleet({
    scope,
    seed,
    plans: named(planFleet(scenario, seed, o.part), o.given),
    agenda,
    ready: o.ready ?? (() => Promise.resolve(now())),
  })
  const stop = (): void => {
    if (drainEnds !== Infinity) return
    drainEnds = now() + scenario.bounds.drain
    fleet.stop()
    agenda.add(drainEnds, fleet.hurry)
    agenda.add(drainEnds + GOODBYE, fleet.end)
  }
  o.signal.addEventListener('abort', fleet.end)
  o.stop?.addEventListener('abort', stop)
  try {
    if (o.stop?.aborted) stop()
    if (o.signal.aborted) fleet.end()
    await fleet.run(stop)
    fleet.stop()
    await Promise.all(scope.errands)
  } finally {
    o.signal.removeEventListener('abort', fleet.end)
    o.stop?.removeEventListener('abort', stop)
  }
  return { ...tally.report(), seed, unwritten: state.unwritten() }
}
