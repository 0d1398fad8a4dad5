/** The bench judges itself: what is a steady state, and when is a bound met. */

import { describe, expect, test } from 'vitest'
import type { SuiteResult } from '../../../bench/support/suite.ts'
import { isolation, unsteadiness, verdictOf } from '../../../bench/support/verdict.ts'

/** Ratios of real, quiet runs that are good (bench/results of 2026-11-25), and of some that are not. */
describe('steady state', () => {
  test.each<readonly [what: string, rounds: readonly number[], says: string | undefined]>([
    ['nothing', [], undefined],
    ['too few to say', [1, 2, 3, 4, 5], undefined],
    ['the same every time', Array(12).fill(1.2), undefined],
    ['https', [1.36, 1.25, 1.36, 1.22, 1.26, 1.36], undefined],
    [
      'mqtt-connect',
      [1.07, 0.97, 0.97, 0.96, 1.03, 0.97, 1.04, 1, 1.03, 0.94, 0.99, 0.92, 0.96, 0.9],
      undefined,
    ],
    ['one outlier', [1.37, 0.9, 0.9, 0.89, 0.85, 0.87, 0.88, 0.86, 0.9, 0.88, 0.87, 0.86], undefined],
    ['two outliers', [1, 1.1, 0.95, 3, 1.05, 1, 1, 0.98, 2.5, 1.02, 1.04, 0.97], undefined],
    [
      'a drift of 13 % in rounds that are as far apart',
      [0.6, 0.68, 0.61, 0.7, 0.62, 0.69, 0.71, 0.65, 0.72, 0.66, 0.74, 0.7],
      undefined,
    ],
    [
      'warming up all the time',
      [2, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1.05, 1],
      'it drifts by -34 %',
    ],
    ['a step', [1, 1, 1.02, 1, 1.01, 1, 1.3, 1.31, 1.3, 1.29, 1.3, 1.3], 'it drifts by 30 %'],
    ['two states', [1, 1.7, 1, 1.7, 1.7, 1, 1, 1.7, 1, 1.7, 1, 1.7], 'half of the rounds lie 52 % apart'],
    ['noise', [1, 2, 0.5, 1.5, 0.7, 1, 2, 0.5, 1.5, 0.7, 1, 1.2], 'half of the rounds lie'],
  ])('%s', (_, rounds, says) => {
    const said = unsteadiness(rounds)
    if (says === undefined) expect(said).toBe(undefined)
    else expect(said).toContain(`no steady state: ${says}`)
  })

  test.each<readonly [what: string, rounds: readonly number[], says: string | undefined]>([
    ['too few to say', [1, 9, 9], undefined],
    ['a quarter near the best', [600, 590, 620, 615, 900, 870, 880, 900, 860], undefined],
    [
      'one lucky round',
      [400, 600, 620, 615, 640, 650, 610, 630],
      'a quarter of the rounds begins 52 % above',
    ],
  ])('where the best round counts: %s', (_, rounds, says) => {
    const said = isolation(rounds)
    if (says === undefined) expect(said).toBe(undefined)
    else expect(said).toContain(says)
  })
})

const result = (over: Partial<SuiteResult>): SuiteResult => ({ unit: 'µs', variants: {}, facts: {}, ...over })
const even = (value: number, rounds = 6): readonly number[] => Array<number>(rounds).fill(value)

describe('a verdict', () => {
  const pair = (ours: readonly number[], theirs: readonly number[], bound: number): SuiteResult =>
    result({ base: 'theirs', variants: { ours, theirs }, bounds: { ours: bound } })

  test.each<readonly [what: string, result: SuiteResult, met: boolean | undefined]>([
    ['the median on the bound', pair(even(95), even(100), 0.95), true],
    ['the median beyond it', pair(even(96), even(100), 0.95), false],
    ['the median within, rounds beyond', pair([90, 90, 90, 90, 120, 99], even(100), 0.95), true],
    ['the median beyond, rounds within', pair([90, 96, 97, 98, 96, 96], even(100), 0.95), false],
    ['not settled, on both sides', pair([90, 200, 90, 200, 90, 200], even(100), 0.95), undefined],
    ['not settled, within in every round', pair([40, 90, 40, 90, 40, 90], even(100), 0.95), true],
    ['not settled, beyond in every round', pair([140, 290, 140, 290, 140, 290], even(100), 0.95), false],
    ['nothing asked', result({ variants: { ours: even(1) } }), undefined],
    [
      'asked of what was not measured',
      result({ base: 'theirs', variants: { theirs: even(1) }, bounds: { ours: 1 } }),
      undefined,
    ],
    ['a limit', result({ variants: { ours: even(9) }, limits: { ours: 10 } }), true],
    ['a limit missed', result({ variants: { ours: even(11) }, limits: { ours: 10 } }), false],
    [
      'a limit of the best',
      result({ figure: 'best', variants: { ours: [11, 9, 9.5, 12, 30, 9] }, limits: { ours: 10 } }),
      true,
    ],
    ['a bound met, a limit missed', { ...pair(even(90), even(100), 0.95), limits: { ours: 80 } }, false],
    ['a single run', result({ variants: { ours: [40] }, limits: { ours: 100 } }), true],
  ])('%s', (_, given, met) => {
    expect(verdictOf(given, 'ours').met).toBe(met)
  })

  test('ratios are of the same round', () => {
    const drifting = pair([100, 200, 300, 400, 500, 600], [100, 200, 300, 400, 500, 600], 1)
    expect(verdictOf(drifting, 'ours')).toMatchObject({
      ratio: 1,
      range: [1, 1],
      unsteady: undefined,
      met: true,
    })
    expect(verdictOf(drifting, 'theirs').unsteady).toContain('it drifts')
  })

  test('a bound goes by the ratio, a limit by the figure: each must have settled by itself', () => {
    const values = [100, 110, 120, 130, 140, 150, 200, 210, 220, 230, 240, 250]
    const drifting = pair(values, values, 1)
    expect(verdictOf(drifting, 'ours')).toMatchObject({ met: true, unsteady: undefined })
    expect(verdictOf(drifting, 'ours').drifts).toContain('it drifts')
    expect(verdictOf({ ...drifting, limits: { ours: 220 } }, 'ours').met).toBe(undefined)
    expect(verdictOf({ ...drifting, limits: { ours: 250 } }, 'ours').met).toBe(true)
  })

  test.each([
    [0, undefined],
    [1, 1],
    [11, 11],
    [12, undefined],
  ])('of %i rounds', (rounds, few) => {
    expect(verdictOf(result({ variants: { ours: even(1, rounds) } }), 'ours').few).toBe(few)
  })

  test('where the best counts, the ratio is of the best', () => {
    const given = result({ base: 'a', figure: 'best', variants: { a: [2, 1, 3], b: [9, 7, 5] } })
    expect(verdictOf(given, 'b')).toMatchObject({ figure: 5, ratio: 5, range: undefined })
  })

  test.each<
    readonly [what: string, values: NonNullable<SuiteResult['floor']>['values'], floors: number | undefined]
  >([
    ['of all', [10, 20, 10], 2],
    ['of rounds that are not steady', [10, 20, 10, 1, 2, 1], undefined],
    ['of each', { ours: [5, 5, 5], theirs: [1, 1, 1] }, 4],
    ['of another', { theirs: [1, 1, 1] }, undefined],
  ])('times the floor %s', (_, values, floors) => {
    const ours = [20, 40, 20, 20, 40, 20].slice(0, Array.isArray(values) ? values.length : 3)
    const given = result({ variants: { ours }, floor: { what: 'steps', values } })
    expect(verdictOf(given, 'ours').floors).toBe(floors)
  })
})
