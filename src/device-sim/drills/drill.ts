/** A drill: one attack, or one promise, tried from outside. And the one place that runs them all, side by side, each with an end. */

import { pause } from '../waiting.ts'
import type { Stage } from './stage.ts'

/** What not everyone who runs drills has. `staging`: it puts something into the target; it has no effect beside what it puts. */
export type Need = 'operator' | 'seen' | 'staging' | 'patience'

export type Drill = {
  /** snake_case; begins the names of its expectations */
  readonly name: string
  readonly needs: readonly Need[]
  run(stage: Stage): Promise<void>
}

/** ms; no drill takes half of it on a slow machine. `slow_request`, which waits for a limit of ten seconds, takes the longest */
const DRILL_TIMEOUT = 30_000

/**
 * Runs them side by side. One that throws, or does not end, is a failed expectation by its name; the others go on.
 * @returns the names of those that could not be tried for want of what they need
 */
export const runDrills = async (
  drills: readonly Drill[],
  stageFor: (drill: Drill, signal: AbortSignal) => Stage,
  signal: AbortSignal,
  timeout = DRILL_TIMEOUT,
): Promise<readonly string[]> => {
  const skipped: string[] = []
  await Promise.all(
    drills.map(async (drill) => {
      const ended = new AbortController()
      const late = AbortSignal.any([signal, AbortSignal.timeout(timeout)])
      const stage = stageFor(drill, AbortSignal.any([late, ended.signal]))
      if (drill.needs.some((need) => stage[need] === undefined)) return void skipped.push(drill.name)
      try {
        const finished = await Promise.race([
          drill.run(stage).then(() => true),
          pause(timeout * 2, late, ended.signal).then(() => false),
        ])
        stage.expectations.check(drill.name, finished, 'it did not end in time')
      } catch (error) {
        const why = late.aborted ? 'it did not end in time' : String(error)
        stage.expectations.check(drill.name, false, why)
      } finally {
        // whatever it left open ends with it
        ended.abort()
      }
    }),
  )
  return skipped
}
