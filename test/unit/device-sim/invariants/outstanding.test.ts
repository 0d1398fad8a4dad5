/** What is kept of those that do not come: by number as far as somebody asks for numbers, else their count. */

import { expect, test } from 'vitest'
import { acknowledged, createOutstanding, delivered, forget } from '#device-sim/invariants/outstanding.ts'

test.each([
  ['by number, up to a bound', undefined, 2_048],
  ['by number, up to another', 10, 10],
  ['as a count alone', 0, 0],
])('of half of 6,000 that are lost: %s', (_, most, named) => {
  const outstanding = createOutstanding(most)
  for (let seq = 1; seq <= 6_000; seq++) {
    acknowledged(outstanding, seq, 1)
    if (seq % 2 === 0) delivered(outstanding, seq)
  }
  expect(outstanding.passed.size).toBe(named)
  expect(forget(outstanding)).toBe(3_000)
  expect(forget(outstanding)).toBe(0)
})

test('two that keep no numbers share nothing', () => {
  const [one, other] = [createOutstanding(0), createOutstanding(0)]
  for (let seq = 1; seq <= 3_000; seq++) acknowledged(one, seq, 1)
  expect([forget(other), forget(one)]).toEqual([0, 3_000])
})
