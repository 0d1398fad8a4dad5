/**
 * What a run needs and has not got, found out without asking anybody: doors without a URL, faults without an operator, devices with nothing
 * to enrol with. Not the getting of it: provisions.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { planFleet } from '../life/plan.ts'
import { openState } from '../life/state.ts'
import type { Fault, Scenario } from '../scenario/scenario.ts'
import { createGate } from '../waiting.ts'
import { isOperatorFault } from './operator-faults.ts'
import type { SimulationOptions } from './options.ts'
import type { Doorway } from './preflight.ts'

/** @throws `config_invalid` */
export const refuse = (detail: string): never => {
  throw new FleetError('config_invalid', detail)
}

const HOW_TO_GET_ONE =
  'on the machine with the registry, `npx sallyport operator token create --offline --save` makes one; --operator-token-file gives another'

const nameOf = ({ name, timeline }: Scenario, at: number): string => {
  const { kind, at: when } = timeline[at] as Fault
  return `scenario ${name}, timeline entry ${at + 1} (${kind} at ${when / 1_000} s)`
}

/** Nobody enrols or renews at a target that is not ours: devices have what they were given. */
const takesDesk = (fault: Fault): boolean =>
  fault.kind === 'renew' || (fault.kind === 'clone' && fault.rival === 'renewal')

const checkForeign = (scenario: Scenario): void => {
  const { name, timeline, drills, certificateTtl, adviceEvery } = scenario
  if (drills.length > 0) refuse(`scenario ${name} has drills: they are for a Sallyport, and --target is none`)
  const settings = { certificate_ttl: certificateTtl, advice_every: adviceEvery }
  for (const [key, value] of Object.entries(settings))
    if (value !== undefined) refuse(`scenario ${name} has ${key}: nobody enrols or renews at a --target`)
  const operators = timeline.findIndex(isOperatorFault)
  if (operators !== -1)
    refuse(`${nameOf(scenario, operators)} is done by the operator of a Sallyport, and --target is none`)
  const desks = timeline.findIndex(takesDesk)
  if (desks !== -1) refuse(`${nameOf(scenario, desks)} takes an enroll desk, and --target has none`)
}

/** Of what would silently not come about: a drill in which nothing happens would pass. */
export const checkFeasible = ({ scenario, operator, foreign }: SimulationOptions): void => {
  if (foreign) checkForeign(scenario)
  if (operator !== undefined) return
  const at = scenario.timeline.findIndex(isOperatorFault)
  if (at !== -1) refuse(`${nameOf(scenario, at)} needs an operator token: ${HOW_TO_GET_ONE}`)
}

export type Fleet = {
  /** as its devices have been called so far, or would be */
  readonly name: string
  /** nobody of it has a key yet */
  readonly fresh: boolean
  /** devices that have a certificate, and whose state can be read */
  readonly kept: number
  /** devices without a certificate, by what they enrol with */
  readonly byToken: number
  readonly byClaim: number
  /** as the first device that has a certificate was given it */
  readonly rootPem: string | undefined
}

/** Files that are read at once */
const READING = 64

/** What of the fleet is there already. @throws `config_invalid`: not one file of the state can be read */
export const lookAtFleet = async (o: SimulationOptions, seed: string, name: string): Promise<Fleet> => {
  const { given, stateDir, scenario } = o
  if (given !== undefined) {
    const rootPem = given.find((each) => each.rootPem !== '')?.rootPem
    return { name, fresh: false, kept: given.length, byToken: 0, byClaim: 0, rootPem }
  }
  const plans = planFleet(scenario, seed, { index: 0, of: 1, name })
  const state = await openState(stateDir)
  const gate = createGate(READING)
  /** of files that cannot be read: their devices take no part, and say so themselves */
  const troubles: unknown[] = []
  const all = await Promise.all(
    plans.map(({ id, via }) =>
      gate(async () => {
        try {
          const kept = await state.load(id)
          return { via, known: kept !== undefined, rootPem: kept?.enrolled?.rootPem }
        } catch (error) {
          troubles.push(error)
          return undefined
        }
      }),
    ),
  )
  if (troubles.length > 0 && troubles.length === plans.length) throw troubles[0]
  const looked = all.filter((one) => one !== undefined)
  const missing = looked.filter(({ rootPem }) => rootPem === undefined)
  const byClaim = missing.filter(({ via }) => via === 'mqtt').length
  return {
    name,
    fresh: all.every((one) => one?.known === false),
    kept: looked.length - missing.length,
    byToken: missing.length - byClaim,
    byClaim,
    rootPem: looked.find(({ rootPem }) => rootPem !== undefined)?.rootPem,
  }
}

export const checkCredentials = (
  { credentials, operator }: SimulationOptions,
  { byToken, byClaim }: Fleet,
): void => {
  if (operator !== undefined) return
  if (byToken > 0 && credentials.token === undefined)
    refuse(
      `${byToken} devices are not enrolled yet: give a claim token (--token), or an operator token: ${HOW_TO_GET_ONE}`,
    )
  if (byClaim > 0 && credentials.claim === undefined)
    refuse(
      `${byClaim} devices enrol by MQTT: give a claim certificate (--claim-cert, --claim-key, --claim-group), or an operator token: ${HOW_TO_GET_ONE}`,
    )
}

/**
 * Whose certificates do not live as long as the scenario wants: the life is asked of the token and the group that are made for the run, and of nothing
 * else. @returns undefined: all do, or the scenario wants nothing
 */
export const lifeNotHad = (
  { scenario: { certificateTtl }, credentials }: SimulationOptions,
  { kept, byToken, byClaim }: Fleet,
): string | undefined => {
  if (certificateTtl === undefined) return undefined
  const whose = [
    [kept, 'had certificates before'],
    [credentials.token === undefined ? 0 : byToken, 'enrol with a token that was given'],
    [credentials.claim === undefined ? 0 : byClaim, 'enrol with a claim certificate that was given'],
  ] as const
  const said = whose.flatMap(([count, what]) => (count === 0 ? [] : [`${count} devices ${what}`]))
  return said.length === 0
    ? undefined
    : `certificate_ttl ${certificateTtl} was not asked for: ${said.join(', ')}`
}

const uses = ({ doors, enroll }: Scenario, given: boolean) => ({
  enroll: !given,
  https: doors.https > 0,
  mqtts: doors.mqtt > 0 || (!given && enroll.mqtt > 0),
})

const DOORS = {
  enroll: { name: 'the enroll desk', option: '--enroll-url' },
  https: { name: 'the HTTPS door', option: '--https-url' },
  mqtts: { name: 'the MQTT door', option: '--mqtts-url' },
} as const

export const doorsOf = ({ scenario, targets, given, foreign }: SimulationOptions): readonly Doorway[] => {
  const used = uses(scenario, given !== undefined)
  return (Object.keys(DOORS) as (keyof typeof DOORS)[]).flatMap((name) => {
    const url = targets[name]
    if (!used[name]) return []
    if (url === undefined) return refuse(`no URL of ${DOORS[name].name}: ${DOORS[name].option} gives it`)
    return [{ url, ...(foreign ? { name: 'the target', option: '--target' } : DOORS[name]) }]
  })
}
