/** How many processes a fleet is divided among, and how they are started. What they do: test/system/sim. */

import { expect, test } from 'vitest'
import { inheritedOptions, workersFor } from '#device-sim/coordinator/workers.ts'
import { quick } from '../../../support/simulation.ts'

const open = (rate: number) => ({ kind: 'open', rate, arrivals: 'poisson' }) as const
const closed = (pace: number) => ({ kind: 'closed', pace, jitter: 0.5 }) as const

test.each([
  ['a small fleet', { devices: 25, load: closed(4_000) }, 8, 1],
  ['a larger one', { devices: 1_000, load: closed(10_000) }, 8, 4],
  ['not more than there are cores', { devices: 100_000, load: closed(10_000) }, 8, 8],
  ['a small fleet with much to say', { devices: 20, load: open(1_000) }, 8, 5],
  ['without a pause', { devices: 8, load: closed(0) }, 4, 4],
  ['not more than there are devices', { devices: 2, load: open(10_000) }, 8, 2],
])('%s', (_, over, cores, expected) => {
  expect(workersFor(quick(over), cores)).toBe(expected)
})

test.each([
  [['--inspect', '--openssl-config=a'], ['--openssl-config=a']],
  [
    ['--openssl-config', 'a', '--inspect'],
    ['--openssl-config', 'a'],
  ],
  [['--inspect', 'a'], []],
])('of %j workers inherit %j', (options, expected) => {
  expect(inheritedOptions(options)).toEqual(expected)
})
