/**
 * `npm run bench [suite] [-- --rounds N]`: each suite is a program of ours, beside one that is not where there is one, in one run, as a
 * ratio.
 * A suite is one file and one row here. It prints one table to stdout and leaves its figures in bench/results/.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { showTable } from './support/table.ts'
import type { Suite } from './support/suite.ts'

const SUITES: Readonly<Record<string, () => Promise<{ readonly suite: Suite }>>> = {
  https: () => import('./https-door.ts'),
  'https-session': () => import('./https-session.ts'),
  idle: () => import('./idle.ts'),
  'slow-peers': () => import('./slow-peers.ts'),
  mqtt: () => import('./mqtt.ts'),
  'mqtt-connect': () => import('./mqtt-connect.ts'),
  'mqtt-idle': () => import('./mqtt-idle.ts'),
  'mqtt-cut': () => import('./mqtt-cut.ts'),
  enroll: () => import('./enroll.ts'),
  signer: () => import('./signer.ts'),
  ocsp: () => import('./ocsp.ts'),
  crl: () => import('./crl.ts'),
  'fleet-size': () => import('./fleet-size.ts'),
  policy: () => import('./policy.ts'),
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, requests: { type: 'string' } },
})
const usage = `usage: npm run bench [${Object.keys(SUITES).join('|')}] [-- --rounds N --requests N]`
const unknown = positionals.filter((name) => !Object.hasOwn(SUITES, name))
const number = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Number(text)
const [rounds, requests] = [number(values.rounds), number(values.requests)]
if (unknown.length > 0 || [rounds, requests].some((given) => given !== undefined && !(given > 0))) {
  console.error(usage)
  process.exit(2)
}

const results = join(import.meta.dirname, 'results')
mkdirSync(results, { recursive: true })
for (const name of positionals.length > 0 ? positionals : Object.keys(SUITES)) {
  const { suite } = (await SUITES[name]?.()) ?? { suite: undefined }
  if (suite === undefined) continue
  const measured = await suite({
    ...(rounds === undefined ? {} : { rounds }),
    ...(requests === undefined ? {} : { requests }),
    progress: (text) => {
      console.error(`${name}: ${text}`)
    },
  })
  const file = join(results, `${name}.json`)
  writeFileSync(
    file,
    `${JSON.stringify({ suite: name, at: new Date().toISOString(), results: [measured].flat() }, null, 2)}\n`,
  )
  for (const result of [measured].flat()) console.log(showTable(name, result))
  console.error(`${name}: figures in ${file}`)
}
