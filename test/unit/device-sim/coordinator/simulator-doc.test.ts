/** docs/simulator.md names everything that there is: measures, counters, promises, options. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { simRun } from '#cli/commands/sim-run.ts'
import { INVARIANTS } from '#device-sim/invariants/invariant.ts'
import { COUNTERS, MEASURES } from '#device-sim/measure/measures.ts'
import { fakeIo } from '../../cli/fake-io.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/simulator.md'), 'utf8')

test.each([
  ['measures', Object.keys(MEASURES).map((name) => `| \`${name}\``)],
  ['counters', COUNTERS.map((name) => `\`${name}\``)],
  ['promises', Object.keys(INVARIANTS).map((name) => `| \`${name}\``)],
  ['options', simRun(fakeIo()).options.map(({ long }) => `\`${long ?? ''}`)],
])('%s', (_, names) => {
  expect(names.filter((name) => !page.includes(name))).toEqual([])
})
