/** What of a run follows from how large it is: its processes, its ramp, how it ends. Not what was typed: plan-run.ts. */

import { availableParallelism } from 'node:os'
import { FleetError } from '#fleet/errors.ts'
import { workersFor, type Scenario } from '#device-sim/index.ts'

/** Devices a second that one process connects with ease, and a server on the same machine admits. */
const EASE = 200

type Typed = {
  readonly workers?: number
  /** ms */
  readonly ramp?: number
  readonly rounds?: number
  readonly json?: boolean | undefined
}

type Decided = { readonly scenario: Scenario; readonly workers: number; readonly notes: readonly string[] }

/**
 * How many processes, and a ramp that they can keep up with: what is slow because all came at once is their own doing. A scenario that says `0s`
 * means it, and who says `--ramp` decides.
 * @throws `config_invalid`: rounds in an open loop
 */
export const decided = (scenario: Scenario, options: Typed): Decided => {
  const { devices, ramp, duration } = scenario
  const workers = options.workers ?? workersFor(scenario, availableParallelism())
  const processes = Math.max(1, Math.min(workers, devices))
  if (options.rounds !== undefined && scenario.load.kind === 'open')
    throw new FleetError(
      'config_invalid',
      `--rounds ${options.rounds}: counts the turns of each device, and in an open loop (--rate) turns are the fleet's; --for says when it ends`,
    )
  const ends = duration === undefined && options.rounds === undefined
  const notes = ends && options.json !== true ? ['until Ctrl-C; --for 30s would end it by itself'] : []
  const least = Math.ceil((devices * 1_000) / (EASE * processes))
  const raised = Math.min(least, duration ?? Infinity)
  if (options.ramp !== undefined || ramp === 0 || raised <= ramp) return { scenario, workers, notes }
  const note = `${devices} devices come over ${(raised / 1_000).toFixed(1)} s instead of ${(ramp / 1_000).toFixed(1)} s, which is what ${processes} of our processes begin with ease; --ramp says otherwise`
  return { scenario: { ...scenario, ramp: raised }, workers, notes: [...notes, note] }
}
