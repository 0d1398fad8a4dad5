/**
 * `npm run bench [suite…] [-- --rounds N --requests N --out DIR | --page]`: each suite is a program of ours, beside those that are not and are installed, in one
 * run, as a ratio. A suite is one file and one row of suites.ts. It prints its tables to stdout and leaves its figures in bench/results/; a suite that fails says why, the
 * others still run, and the exit code is 1.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CLIENT_CORE } from './support/helpers.ts'
import { howToInstall, isInstalled, machine } from './support/machine.ts'
import { fillPage, latestIn, type ResultFile } from './support/page.ts'
import { pinSelf } from './support/pinned.ts'
import { ROUNDS, type Suite } from './support/suite.ts'
import { showTable } from './support/table.ts'
import { verdictOf } from './support/verdict.ts'
import { SUITES } from './suites.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    requests: { type: 'string' },
    // default: bench/results, or smoke/ in it for a run that is too short to have figures
    out: { type: 'string' },
    // runs nothing: docs/performance.md is given the latest figures
    page: { type: 'boolean', default: false },
  },
})
const refuse = (why: string): never => {
  console.error(why)
  process.exit(2)
}
const unknown = positionals.filter((name) => !Object.hasOwn(SUITES, name))
const number = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Number(text)
const [rounds, requests] = [number(values.rounds), number(values.requests)]
if (
  unknown.length > 0 ||
  [rounds, requests].some((given) => given !== undefined && !(Number.isInteger(given) && given > 0))
)
  refuse(
    `usage: npm run bench [${Object.keys(SUITES).join('|')}] [-- --rounds N --requests N --out DIR | --page]`,
  )
const results = join(import.meta.dirname, 'results')
/** Fewer rounds, or other sizes, only show that a suite runs. */
const isSmoke = requests !== undefined || (rounds !== undefined && rounds < ROUNDS)
const out = values.out ?? (isSmoke ? join(results, 'smoke') : results)
if (values.page) {
  const page = join(import.meta.dirname, '../docs/performance.md')
  const { text, homeless } = fillPage(readFileSync(page, 'utf8'), latestIn(values.out ?? results))
  writeFileSync(page, text)
  if (homeless.length > 0) refuse(`docs/performance.md has no place for ${homeless.join(', ')}`)
  process.exit()
}
// Debian's servers lie where a user's PATH may not look
process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`
if (!isInstalled('taskset')) refuse(`the bench needs taskset: ${howToInstall('taskset')}; Linux only`)
if (cpus().length < 2) refuse('the bench needs two cores: one for what is measured, one for the load')

const run = async (name: string, suite: Suite, on: ReturnType<typeof machine>): Promise<void> => {
  const measured = [
    await suite({
      ...(rounds === undefined ? {} : { rounds }),
      ...(requests === undefined ? {} : { requests }),
      progress: (text) => {
        console.error(`${name}: ${text}`)
      },
    }),
  ].flat()
  const at = new Date().toISOString()
  const given = (['rounds', 'requests'] as const).filter((option) => values[option] !== undefined)
  const command = [
    `npm run bench ${name}`,
    ...(given.length > 0 ? ['--', ...given.map((option) => `--${option} ${values[option]}`)] : []),
  ].join(' ')
  const judged = measured.map((result) => ({
    ...result,
    verdicts: Object.fromEntries(Object.keys(result.variants).map((each) => [each, verdictOf(result, each)])),
  }))
  const file = join(out, `${at.slice(0, 10)}-${name}.json`)
  const said: ResultFile = { suite: name, at, command, machine: on, results: judged }
  writeFileSync(file, `${JSON.stringify(said, null, 2)}\n`)
  for (const result of measured) console.log(`${showTable(name, result)}\n`)
  console.error(`${name}: figures in ${file}`)
}

mkdirSync(out, { recursive: true })
for (const name of positionals.length > 0 ? positionals : Object.keys(SUITES)) {
  // whoever measures in this process, or loads with it, says so itself
  pinSelf(CLIENT_CORE)
  const on = machine()
  console.error(
    Object.entries(on)
      .map(([what, value]) => `${what}: ${value}`)
      .join(', '),
  )
  try {
    const { suite } = await (SUITES[name] as (typeof SUITES)[string])()
    await run(name, suite, on)
  } catch (error) {
    console.error(`${name}: NO FIGURES:`, error)
    process.exitCode = 1
  }
}
