/** A simulation in the test's own process, against whatever is there, with everything that need not be said left out. Not the command line. */

import { readFileSync } from 'node:fs'
import { loadScenario, override, simulate, type Live, type SimulationOptions } from '#device-sim/index.ts'
import type { Scenario } from '#device-sim/index.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'

/** Fast: what a scenario takes seconds for is over in tenths. */
export const quick = (o: Partial<Scenario> = {}): Scenario => ({
  ...override(loadScenario('calm', '/'), { devices: 4, ramp: 100, pace: 100 }),
  ...o,
})

/** @param o.targets and a scenario at least */
export const simulated = (
  o: Partial<SimulationOptions> & Pick<SimulationOptions, 'scenario' | 'targets'>,
): Promise<SimulationReport> =>
  simulate({
    seed: undefined,
    rootPem: undefined,
    credentials: {},
    operator: undefined,
    given: undefined,
    foreign: false,
    stateDir: undefined,
    rounds: undefined,
    workers: 0,
    path: undefined,
    method: undefined,
    topic: undefined,
    servers: () => [],
    command: (seed) => `repeat ${seed}`,
    signal: new AbortController().signal,
    ...o,
  })

/** What an invariant came to. */
export const invariant = (report: SimulationReport, name: string): SimulationReport['invariants'][number] => {
  const found = report.invariants.find((each) => each.name === name)
  if (found === undefined) throw new Error(`the report has no ${name}`)
  return found
}

/** Processes of the workers that a process has started; Linux. */
export const workersOf = (parent: number): readonly number[] =>
  readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number)
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('coordinator/worker-main.ts'))

const isThere = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Resolves when none of them is there any more. */
export const allGone = async (pids: readonly number[]): Promise<void> => {
  while (pids.some(isThere)) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** Resolves with the first view of the run that is so; hand `onLive` to the run. */
export const until = (
  wanted: (live: Live) => boolean,
): { readonly onLive: (live: Live) => void; readonly seen: Promise<Live> } => {
  const { promise, resolve } = Promise.withResolvers<Live>()
  return { onLive: (live) => (wanted(live) ? resolve(live) : undefined), seen: promise }
}
