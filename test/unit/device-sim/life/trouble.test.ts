import { expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { troubleOf } from '#device-sim/life/trouble.ts'

test.each([
  [new FleetError('token_spent', 'x'), { kind: 'refused', reason: 'token_spent', door: 'enroll' }],
  [new FleetError('target_unreachable', 'x'), { kind: 'error', detail: 'target_unreachable: x' }],
  [new FleetError('internal', 'x'), { kind: 'error', detail: 'internal: x' }],
  [
    new FleetError('expectation_broken', 'for another key'),
    { kind: 'unverified', detail: 'expectation_broken: for another key' },
  ],
  [new Error('disk full'), { kind: 'error', detail: 'disk full' }],
  ['odd', { kind: 'error', detail: 'odd' }],
])('%s', (error, expected) => {
  expect(troubleOf('a', 'enroll', error, 5)).toMatchObject({ ...expected, device: 'a', at: 5 })
})
