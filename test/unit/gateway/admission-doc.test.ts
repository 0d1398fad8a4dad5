/** docs/admission.md says what the code does: the rungs, in their order, with their statuses, and the whole closed set of reasons. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DENIALS, type Denial } from '#fleet/denial.ts'
import { LADDER } from '#policy/ladder.ts'
import { PROBLEMS } from '#wire/problems.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/admission.md'), 'utf8')
const rungs = [...page.matchAll(/^\| (\d+) +\| `([a-z_]+)` +\| (\d{3}) +\| \S/gm)].map(
  ([, rung, reason, status]) => ({
    rung: Number(rung),
    reason,
    status: Number(status),
  }),
)
const elsewhere = [...page.matchAll(/^\| `([a-z_]+)` +\| \S/gm)].map(([, reason]) => reason)

test('the page has the rungs of the ladder, in order', () => {
  const code = LADDER.flatMap(({ reasons }, at) => reasons.map((reason) => ({ rung: at + 1, reason })))
  expect(rungs.map(({ rung, reason }) => ({ rung, reason }))).toEqual(code)
})

test('it says which of them a bypass policy is not asked', () => {
  const asked = LADDER.flatMap(({ credentials }, at) => (credentials ? [at + 1] : []))
  expect(page).toContain(`rungs ${asked[0]} to ${asked.at(-1)} are not asked`)
  expect(asked).toEqual(Array.from(asked, (_, n) => (asked[0] as number) + n))
})

test('with the statuses of the problem table', () => {
  for (const { reason, status } of rungs)
    expect([reason, status]).toEqual([reason, PROBLEMS[reason as Denial].status])
})

test('and says of every other reason whose it is', () => {
  const given = new Set(rungs.map(({ reason }) => reason))
  expect(elsewhere).toEqual(DENIALS.filter((reason) => !given.has(reason)))
})
