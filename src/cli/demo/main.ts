/**
 * `npm run demo [-- --json]`: the main job, bounded, beside whatever else runs. Progress goes to stderr; with --json exactly one line
 * goes to stdout, without it a table. Exit 0 only when every expectation held.
 */

import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '#fleet/clock.ts'
import { listenForStop } from '#runtime/stop.ts'
import { exitCodeFor, type DemoLine } from './line.ts'
import { failedLine, runDemo } from './run-demo.ts'
import { tableOf } from './table.ts'

const HELP = `Starts both desks and an origin in a temporary home, lets a fleet in and everything else try to get in.

  npm run demo                     a table at the end
  npm run demo -- --json           one line of JSON at the end
  npm run demo -- --seed tuesday   the same fleet again (default: a random one)
`

const flags = (): { json: boolean; help: boolean; seed: string } | undefined => {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        seed: { type: 'string', default: randomBytes(4).toString('hex') },
      },
    })
    if (/^[a-z0-9]{1,32}$/.test(values.seed)) return values
    process.stderr.write(`--seed: got ${JSON.stringify(values.seed)}, expected 1 to 32 of a-z 0-9\n\n`)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n`)
  }
  process.stderr.write(HELP)
  return undefined
}

/** ms. The parts have limits of their own and end before; should one not keep to its limit, this does. */
const HARD_END = 45_000

/** ms: npm passes a terminal's Ctrl-C on to a child that has it already */
const ONE_CTRL_C = 500

const main = async (): Promise<number> => {
  const given = flags()
  if (given === undefined) return 2
  if (given.help) {
    process.stdout.write(HELP)
    return 0
  }
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1_000
  const finish = (line: DemoLine): number => {
    process.stdout.write(
      given.json ? `${JSON.stringify(line)}\n` : `\n${tableOf(line, seconds()).join('\n')}\n`,
    )
    return exitCodeFor(line)
  }
  setTimeout(() => process.exit(finish(failedLine('demo_ended'))), HARD_END).unref()
  let asked = 0
  using stop = listenForStop(() => {
    if (performance.now() - asked > ONE_CTRL_C) process.exit(130)
  })
  stop.signal.addEventListener('abort', () => (asked = performance.now()))
  const line = await runDemo({
    checkout: resolve(import.meta.dirname, '../../..'),
    seed: given.seed,
    devices: 20,
    clock: systemClock,
    env: process.env,
    signal: stop.signal,
    onProgress: (text) => process.stderr.write(`${seconds().toFixed(1).padStart(5)} s  ${text}\n`),
  })
  return finish(line)
}

process.exitCode = await main()
// what was given up may still hold a handle; it does not hold the process
setTimeout(() => process.exit(), 1_000).unref()
