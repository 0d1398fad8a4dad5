/** The simulator as anybody starts it, `sallyport sim run`, on the client's core: what it reported, and what it cost. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { CHECKOUT } from './desk.ts'
import { CLIENT_CORE } from './helpers.ts'
import { runTimed, type Ran } from './timed-command.ts'

type Simulated = Omit<Ran, 'stdout' | 'stderr' | 'code'> & { readonly report: SimulationReport }

/** @param o.scenario YAML, without its head. @param o.isLenient errors and refusals are the caller's to look at. @throws when there is no report, or anything went wrong or was refused in it */
export const simulate = async (o: {
  readonly folder: string
  readonly name: string
  readonly scenario: string
  readonly args: readonly string[]
  readonly isLenient?: boolean
}): Promise<Simulated> => {
  const file = join(o.folder, `${o.name}.yaml`)
  writeFileSync(file, `api_version: 1\nsummary: A benchmark.\n${o.scenario}\n`)
  const command = [process.execPath, join(CHECKOUT, 'bin/sallyport.js'), 'sim', 'run', file, '--json']
  const { stdout, stderr, code, ...ran } = await runTimed(CLIENT_CORE, [...command, ...o.args], {
    cwd: o.folder,
  })
  let report: SimulationReport
  try {
    report = JSON.parse(stdout) as SimulationReport
  } catch {
    throw new Error(`sim run ended with ${code} and no report: ${stderr.slice(-1_000)}`)
  }
  // its verdict is not asked: a peer without access rules breaks promises that are ours
  const { errors, refused, run } = report
  const isClean = Object.keys(errors).length === 0 && Object.keys(refused).length === 0
  if (run.trouble !== null || (!isClean && o.isLenient !== true))
    throw new Error(`sim run: ${JSON.stringify({ trouble: run.trouble, errors, refused })}`)
  return { ...ran, report }
}

/** @returns the sum of the counts whose name begins so */
export const countOf = ({ report }: Simulated, prefix: string): number =>
  Object.entries(report.counts)
    .filter(([name]) => name.startsWith(prefix))
    .reduce((sum, [, count]) => sum + count, 0)
