/** What the bench prints. */

import { expect, test } from 'vitest'
import { against, inOrderOf, median, p99, type SuiteResult } from '../../../bench/support/suite.ts'
import { showTable } from '../../../bench/support/table.ts'

const variants = { ours: [90, 95, 100], theirs: [100, 100, 100] }
const facts = { rounds: 3 }

test.each<readonly [what: string, result: SuiteResult, lines: readonly string[]]>([
  [
    'everything',
    {
      unit: 'µs a thing',
      base: 'theirs',
      variants,
      bounds: { ours: 1 },
      floor: { what: 'one signature', values: [50, 50, 50] },
      memory: { ours: 12_300_000 },
      errors: { what: 'thrown away', counts: { theirs: 2 } },
      missing: { haproxy: 'apt-get install haproxy' },
      facts,
    },
    [
      'a suite: µs a thing',
      '        best  median  ratio to theirs  range of rounds  × floor    MB  errors       asked',
      'ours    90.0    95.0            0.950        0.90–1.00     1.90  12.3       0  ≤ 1 × theirs  met (3 rounds)',
      'theirs   100     100                1                      2.00             2',
      'floor   50.0    50.0',
      '3 rounds: too few to say whether it is steady',
      'floor: one signature',
      'errors: thrown away',
      'without haproxy: apt-get install haproxy',
      'rounds: 3',
    ],
  ],
  [
    'no peer',
    { unit: 'µs a thing', variants: { ours: [90, 95, 100] }, limits: { ours: 80 }, facts },
    [
      'a suite: µs a thing',
      '      best  median    asked',
      'ours  90.0    95.0     ≤ 80  MISSED (3 rounds)',
      '3 rounds: too few to say whether it is steady',
      'rounds: 3',
    ],
  ],
  [
    'a single run',
    { unit: 'MB', variants: { ours: [12] }, limits: { ours: 80 }, facts },
    ['ours  12.0    12.0   ≤ 80  met (1 round)', '1 round: too few to say whether it is steady'],
  ],
  [
    'as many rounds as there should be: nothing is said of them',
    { unit: 'MB', variants: { ours: Array<number>(12).fill(12) }, limits: { ours: 80 }, facts },
    ['ours  12.0    12.0   ≤ 80  met'],
  ],
  [
    'a floor of each',
    {
      unit: 'µs a thing',
      base: 'ours',
      variants,
      floor: { what: 'a row', values: { ours: [40, 50, 60], theirs: [20, 20, 20] } },
      facts,
    },
    [
      'floor, ours    40.0    50.0',
      'floor, theirs  20.0    20.0',
      'floor: a row',
      '3 rounds: too few to say whether it is steady',
    ],
  ],
  [
    'a ratio that has settled of figures that drift: no figures',
    {
      unit: 'µs a thing',
      base: 'theirs',
      variants: {
        ours: [10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25],
        theirs: [10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25],
      },
      bounds: { ours: 1 },
      limits: { ours: 22 },
      facts,
    },
    [
      'ours                            1.000                           1.00–1.00  ≤ 1 × theirs, ≤ 22  not judged',
      'ours, by itself: no steady state: it drifts by 80 %; its ratio has settled',
    ],
  ],
  [
    'no steady state: no figures, and why',
    {
      unit: 'µs a thing',
      base: 'theirs',
      variants: { ours: [1, 5, 1, 5, 1, 5], theirs: [1, 1, 1, 1, 1, 1] },
      bounds: { ours: 2 },
      facts,
    },
    [
      'a suite: µs a thing',
      'ours                                 no steady state: half of the rounds lie 133 % apart  ≤ 2 × theirs  not judged',
      '6 rounds: too few to say whether it is steady',
    ],
  ],
])('%s', (_, result, lines) => {
  const squeezed = (text: string): string => text.replace(/ {2,}/g, '  ')
  const shown = showTable('a suite', result).split('\n').map(squeezed)
  for (const line of lines) expect(shown).toContain(squeezed(line))
  expect(shown.some((line) => line.includes('too few'))).toBe(lines.some((line) => line.includes('too few')))
})

test('what stands beside a peer that is not there is held against nothing', () => {
  expect(against({ ours: [1] }, 'theirs', { ours: 1 })).toEqual({})
  expect(against(variants, 'theirs', {})).toEqual({ base: 'theirs' })
  expect(against(variants, 'theirs', { ours: 1 })).toEqual({ base: 'theirs', bounds: { ours: 1 } })
})

test('each goes first in its round', () => {
  expect([0, 1, 2, 3].map((round) => inOrderOf(round, ['a', 'b', 'c']).join(''))).toEqual([
    'abc',
    'bca',
    'cab',
    'abc',
  ])
})

test('median and p99', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5])
  expect([p99(Array.from({ length: 200 }, (_, n) => n)), p99([7]), p99([])]).toEqual([198, 7, Number.NaN])
})
