/** Identities on their way to a worker: its own only, and what all have in common once. */

import { expect, test } from 'vitest'
import type { Enrolled } from '#device-sim/index.ts'
import { createGiven, givenTo } from '#device-sim/coordinator/given.ts'

const ROOT = 'root '.repeat(1_000)
const identity = (number: number): Enrolled => ({
  deviceId: `pump-${number}`,
  keyPem: `key ${number}`,
  certificatePem: `certificate ${number}`,
  chainPem: number % 2 === 0 ? 'even' : '',
  rootPem: ROOT,
  notAfter: 1,
  renewAfter: 2,
  serial: '0a',
})
const given = Array.from({ length: 3_000 }, (_, number) => identity(number))

test.each([
  ['one of two', { index: 1, of: 2 }, 3_000, 1_500],
  ['the first', { index: 0, of: 3 }, 20, 7],
  ['more devices than identities', { index: 0, of: 1 }, 5_000, 3_000],
  ['none of so few', { index: 4, of: 8 }, 3, 0],
])('%s: no more than its part, and each at its number', (_, part, devices, expected) => {
  const there = createGiven()
  for (const batch of givenTo(part, given, devices)) there.add(structuredClone(batch))
  const all = there.all() ?? []
  const numbers = Object.keys(all).map(Number)
  expect(numbers).toHaveLength(expected)
  expect(numbers.every((number) => number % part.of === part.index && number < devices)).toBe(true)
  for (const number of numbers) expect(all[number]).toEqual(given[number])
})

test('nobody was given any', () => {
  expect(createGiven().all()).toBeUndefined()
})

test('a batch is small, and holds the root once', () => {
  const batches = [...givenTo({ index: 0, of: 1 }, given, 3_000)]
  expect(batches.every(({ identities }) => identities.length <= 500)).toBe(true)
  expect(batches.map(({ texts }) => texts.filter((text) => text === ROOT).length)).toEqual(
    batches.map(() => 1),
  )
  expect(JSON.stringify(batches).length).toBeLessThan(3_000 * 300)
})
