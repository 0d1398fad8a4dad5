/** The drills of a scenario, beside its fleet and with devices of their own. Not a drill: those are in drills/. */

import { randomBytes } from 'node:crypto'
import { systemClock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import type { Targets } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import { runDrills, type Need } from '../drills/drill.ts'
import { createExpectations } from '../drills/expectations.ts'
import { createLedger } from '../drills/ledger.ts'
import { createStage } from '../drills/stage.ts'
import { DRILLS } from '../drills/table.ts'
import { said } from '../said.ts'
import type { Provisions } from './provisions.ts'

export type Drilled = Pick<SimulationReport, 'drills' | 'skipped'>

/** devices of all drills together, and then some */
const TOKEN_USES = 500
const TOKEN_LIVES = '2h'
/** ms of a run beside which a drill may wait for ten seconds */
const PATIENT = 15_000

const WHY: Readonly<Record<Need, string>> = {
  operator: 'it needs an operator token',
  staging: 'it puts something into the target, which needs an operator token of the role admin',
  seen: 'it needs what the origin saw, which only the demo reads',
  patience: 'it waits out a limit of ten seconds, and the run is shorter',
}

/** Those that a foreign target, or a fleet that was given, has not. */
const everyUrl = (targets: Partial<Targets>): Targets | undefined => {
  const { enroll, https, mqtts } = targets
  return enroll === undefined || https === undefined || mqtts === undefined
    ? undefined
    : { enroll, https, mqtts }
}

const tokenFor = async ({ staging, credentials }: Provisions): Promise<string | undefined> =>
  staging === undefined ? credentials.token : staging.token({ uses: TOKEN_USES, expires: TOKEN_LIVES })

/**
 * Never rejects: a drill for which the run has not what it needs is skipped, with the reason. What should have gone and did not is a failed
 * expectation, and so is a run of drills none of which could be tried.
 */
export const runScenarioDrills = async (
  names: readonly string[],
  o: {
    readonly targets: Partial<Targets>
    readonly provisions: Provisions
    /** ms that the run takes; undefined: until it is ended */
    readonly duration: number | undefined
    readonly meter: Meter
    readonly signal: AbortSignal
  },
): Promise<Drilled> => {
  const chosen = DRILLS.filter(({ name }) => names.includes(name))
  const skipAll = (why: string, drills: Drilled['drills'] = []): Drilled => ({
    drills,
    skipped: Object.fromEntries(chosen.map(({ name }) => [name, why])),
  })
  const failed = (expectation: string, evidence: string) => [{ expectation, held: false, evidence }]
  const noneTried = (why: string): Drilled => skipAll(why, failed('drills', `none could be tried: ${why}`))
  const { provisions, meter, signal } = o
  const targets = everyUrl(o.targets)
  if (chosen.length === 0) return skipAll('')
  if (targets === undefined) return skipAll('not asked of a foreign target')
  let token: string | undefined
  try {
    token = await tokenFor(provisions)
  } catch (error) {
    // a run that was ended proves nothing
    if (signal.aborted) return skipAll('the run was ended before it')
    const why = `no claim token: ${said(String(error))}`
    const mayNot = error instanceof FleetError && error.code === 'forbidden'
    return mayNot ? noneTried(why) : skipAll(why, failed('drills.token', why))
  }
  if (token === undefined) return noneTried('its devices need a claim token')

  const checked = new Map<string, { held: boolean; evidence: string }>()
  const expectations = createExpectations((name, held, evidence) => {
    // what a Ctrl-C cut short proves nothing
    if (!held && signal.aborted) return
    const before = checked.get(name)
    if (before === undefined || (before.held && !held))
      checked.set(name, { held, evidence: held ? '' : evidence })
  })
  // not the seed: devices of drills are made anew by each run
  const run = randomBytes(4).toString('hex')
  const ledger = createLedger()
  const { operator, rootPem } = provisions
  const staging = provisions.staging?.isAdmin === true ? provisions.staging : undefined
  const patience = (o.duration ?? Infinity) >= PATIENT ? true : undefined
  const common = { targets, rootPem, token, operator, staging, patience, run } as const
  const skipped = await runDrills(
    chosen,
    (_, ends) => createStage({ ...common, meter, ledger, expectations, clock: systemClock, signal: ends }),
    signal,
  )
  if (skipped.length === chosen.length && !signal.aborted)
    expectations.check('drills', false, 'none could be tried: the run has not what they need')
  return {
    drills: Array.from(checked, ([expectation, { held, evidence }]) => ({ expectation, held, evidence })),
    skipped: Object.fromEntries(
      skipped.map((name) => {
        const needs = chosen.find((drill) => drill.name === name)?.needs ?? []
        return [name, needs.map((need) => WHY[need]).join('; ')]
      }),
    ),
  }
}
