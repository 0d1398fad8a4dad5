/**
 * What a fleet needs before its first device knocks: doors that are there, a root to know them by, something to enrol with. Made for the run
 * with the operator token, and taken away again, unless it was given. What is missing is said before anything is tried.
 */

import { MINUTE, SECOND, systemClock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { createOperator, type Operator } from '../client/operator.ts'
import { openStaging, type Staging } from '../client/staging.ts'
import { resolveRoot } from '../client/trust.ts'
import { deviceId } from '../life/plan.ts'
import { openState } from '../life/state.ts'
import type { Scenario } from '../scenario/scenario.ts'
import type { Credentials } from './messages.ts'
import {
  checkCredentials,
  checkFeasible,
  doorsOf,
  lifeNotHad,
  lookAtFleet,
  refuse,
  type Fleet,
} from './needs.ts'
import { rotationTrouble } from './operator-faults.ts'
import type { SimulationOptions } from './options.ts'
import { preflight, sentenceFor } from './preflight.ts'

export type Provisions = AsyncDisposable & {
  /** what the devices are called after: the seed, or, where such a fleet is there already, the seed and a number */
  readonly name: string
  /** nobody of it has a key yet */
  readonly fresh: boolean
  readonly credentials: Credentials
  readonly rootPem: string
  readonly operator: Operator | undefined
  /** undefined: no operator token */
  readonly staging: Staging | undefined
  /** why certificates do not live as long as the scenario wants; undefined: they do, or it wants nothing */
  readonly lifeNotHad: string | undefined
}

/** Of a claim token of a run that nobody knows the end of */
const TOKEN_LIVES = '24h'
/** ms that a run may take longer than it is expected to, and that a device takes to enrol on a slow machine */
const DELAY = 10 * MINUTE
const ENROLS = 100

/** As long as devices may come with it, and soon an end to one that a killed run has left. @returns as the operator API takes it */
export const tokenLife = ({ devices, ramp, duration }: Scenario): string =>
  duration === undefined
    ? TOKEN_LIVES
    : `${Math.ceil((duration + ramp + devices * ENROLS + DELAY) / SECOND)}s`

const stage = async (
  o: SimulationOptions,
  staging: Staging | undefined,
  { byToken, byClaim }: Fleet,
): Promise<Credentials> => {
  const { credentials, scenario } = o
  if (staging === undefined) return credentials
  const ttl = scenario.certificateTtl
  const token =
    credentials.token ??
    (byToken === 0
      ? undefined
      : await staging.token({
          uses: byToken,
          expires: tokenLife(scenario),
          ...(ttl === undefined ? {} : { cert_ttl: ttl }),
        }))
  if (byClaim === 0 || credentials.claim !== undefined) return { ...credentials, token }
  const { identity, group } = await staging.claim({ certificates: byClaim, certificateTtl: ttl })
  return { token, claim: identity, group }
}

/** What is asked first of the operator API: whether it is there is said in words. */
const asking = async <T>(url: string, work: Promise<T>): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof FleetError) || error.code !== 'target_unreachable') throw error
    const door = { name: 'the operator API', url, option: '--operator-url' }
    throw new FleetError('target_unreachable', sentenceFor(door, error), { cause: error })
  }
}

const needsStaging = (o: SimulationOptions, fleet: Fleet): boolean =>
  (fleet.byToken > 0 && o.credentials.token === undefined) ||
  (fleet.byClaim > 0 && o.credentials.claim === undefined) ||
  o.scenario.drills.length > 0

/** A run that is repeated has the same plan, and devices of its own: those of the run before are enrolled, or revoked. */
const MOST_NAMES = 1_000

/** Before the first device of a fleet. */
const BEFORE_ALL = -1

/** @throws what the operator API says */
const isTaken = async (operator: Operator, name: string): Promise<boolean> => {
  const before = deviceId(name, BEFORE_ALL)
  const next = await operator.deviceAfter(before)
  return next?.startsWith(before.replace(/0+$/, '')) === true
}

/** Of a fleet of which nobody has a key yet. That of two runs at once both take it is seen when the first device enrols: part.ts. */
const freeName = async (seed: string, operator: Operator): Promise<string> => {
  for (let number = 1; number <= MOST_NAMES; number++) {
    const name = number === 1 ? seed : `${seed}.${number}`
    if (!(await isTaken(operator, name))) return name
  }
  return refuse(`there are ${MOST_NAMES} fleets of seed ${seed} already: take another seed`)
}

/** @returns undefined: no operator, or one who may not, and probes alone would have needed it */
const stagingFor = async (
  o: SimulationOptions,
  seed: string,
  operator: Operator | undefined,
  needed: boolean,
  onLeft: (what: string) => void,
): Promise<Staging | undefined> => {
  if (operator === undefined || o.operator === undefined) return undefined
  const opening = openStaging({
    operator,
    run: seed,
    clock: systemClock,
    lasts: o.scenario.duration,
    onRemoved: (what) => o.onNote?.(`removed, left by a run that was killed: ${what}`),
    onLeft(what) {
      const said = `could not be taken away: ${what}`
      onLeft(said)
      o.onNote?.(said)
    },
  })
  return needed ? asking(o.operator.url, opening) : opening.catch(() => undefined)
}

/**
 * @param calls.signal ends every call of the operator API
 * @param calls.onLeft told what could not be taken away again, in words without a secret
 * @throws `config_invalid`: something that the scenario needs is not given; `target_unreachable`: a door is not there, or is not the one that
 * was meant; the server's reason, where it refuses to give a token
 */
export const provide = async (
  o: SimulationOptions,
  seed: string,
  calls: { readonly signal: AbortSignal; readonly onLeft: (what: string) => void },
): Promise<Provisions> => {
  checkFeasible(o)
  const state = await openState(o.stateDir)
  const fleet = await lookAtFleet(o, seed, await state.name(seed))
  checkCredentials(o, fleet)
  const otherLife = lifeNotHad(o, fleet)
  if (otherLife !== undefined)
    o.onNote?.(`${otherLife}; that they were renewed in time will not be said of this run`)
  const doors = doorsOf(o)
  const identity = o.given?.[0]
  const knownRoot = o.rootPem ?? fleet.rootPem
  const { keyAgreement } = o.scenario
  await preflight(doors, { rootPem: knownRoot, identity, keyAgreement, signal: o.signal })

  await using scope = new AsyncDisposableStack()
  // not with the run's signal: it is what takes everything away, whatever ends the run
  const operator =
    o.operator === undefined
      ? undefined
      : createOperator({
          ...o.operator,
          rootPem: o.operator.rootPem ?? knownRoot ?? '',
          signal: calls.signal,
        })
  if (
    operator !== undefined &&
    o.operator !== undefined &&
    o.scenario.timeline.some(({ kind }) => kind === 'rotate')
  ) {
    const trouble = rotationTrouble(o.scenario.timeline, await asking(o.operator.url, operator.issuers()))
    if (trouble !== undefined) refuse(`scenario ${o.scenario.name}, ${trouble}`)
  }
  const staging = await stagingFor(o, seed, operator, needsStaging(o, fleet), calls.onLeft)
  if (staging !== undefined) scope.use(staging)
  const { name, fresh } = fleet
  const chosen =
    fresh && operator !== undefined && o.operator !== undefined
      ? await asking(o.operator.url, freeName(seed, operator))
      : name
  await state.name(seed, chosen)
  const credentials = await stage(o, staging, fleet)
  const rootPem = knownRoot ?? (await rootFor(o, credentials))
  // now that it is known whom they must be
  if (knownRoot === undefined) await preflight(doors, { rootPem, identity, keyAgreement, signal: o.signal })
  const owned = scope.move()
  return {
    name: chosen,
    fresh,
    credentials,
    rootPem,
    operator,
    staging,
    lifeNotHad: otherLife,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const rootFor = ({ targets, signal }: SimulationOptions, { token }: Credentials): Promise<string> => {
  if (targets.enroll === undefined || token === undefined)
    return refuse('nothing says which root the servers are to be known by: --ca <file> gives it')
  return resolveRoot(targets.enroll, { token }, { signal })
}
