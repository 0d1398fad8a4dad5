/** What options make of a scenario, and what they are refused with. */

import { describe, expect, test } from 'vitest'
import { calm } from '#device-sim/scenario/defaults.ts'
import { loadScenario } from '#device-sim/scenario/load.ts'
import { override, parseWeights, type Overrides } from '#device-sim/scenario/override.ts'
import type { FleetError } from '#fleet/errors.ts'

const detailOf = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    expect((error as FleetError).code).toBe('config_invalid')
    return (error as FleetError).detail
  }
  return ''
}

test('nothing said changes nothing', () => {
  for (const name of ['calm', 'mixed', 'offline-90-days']) {
    const scenario = loadScenario(name, '/')
    expect(override(scenario, {})).toEqual(scenario)
  }
})

test.each<[Overrides, object]>([
  [{ devices: 3 }, { devices: 3 }],
  [{ rate: 0.5 }, { load: { kind: 'open', rate: 0.5, arrivals: 'poisson' } }],
  [{ pace: 0 }, { load: { kind: 'closed', pace: 0, jitter: 0.5 } }],
  [{ duration: 60_000 }, { duration: 60_000, ramp: 5_000 }],
  [{ duration: 2_000 }, { duration: 2_000, ramp: 2_000 }],
  [{ duration: 2_000, ramp: 1_000 }, { ramp: 1_000 }],
  [{ mix: { mqtt: 1 } }, { doors: { https: 0, mqtt: 1 } }],
  [{ enroll: { est: 2, rest: 1 } }, { enroll: { rest: 1, est: 2, mqtt: 0 } }],
  [{ payload: 0 }, { payload: 0 }],
  [{ assertions: ['lost==0'] }, { assertions: ['refused==0', 'errors==0', 'unanswered==0', 'lost==0'] }],
])('%j', (given, expected) => {
  expect(override(calm(), given)).toMatchObject(expected)
})

test('a pace of an open loop closes it, a rate keeps its arrivals', () => {
  const mixed = loadScenario('mixed', '/')
  expect(override(mixed, { pace: 1_000 }).load).toEqual({ kind: 'closed', pace: 1_000, jitter: 0.5 })
  expect(override(mixed, { rate: 9 }).load).toEqual({ kind: 'open', rate: 9, arrivals: 'poisson' })
})

describe('what is refused', () => {
  test.each<[Overrides, string]>([
    [{ devices: 0 }, '--devices: got 0, expected a whole number from 1 to 100000'],
    [{ devices: 100_001 }, '--devices: got 100001, expected a whole number from 1 to 100000'],
    [{ devices: Number.NaN }, '--devices: got NaN, expected a whole number from 1 to 100000'],
    [{ rate: 0 }, '--rate: got 0, expected a number above 0, at most 1000000'],
    [{ rate: 1e7 }, '--rate: got 10000000, expected a number above 0, at most 1000000'],
    [{ rate: 1, pace: 1 }, '--pace: got it beside --rate, expected one of them: an open loop has no pace'],
    [{ pace: 86_400_001 }, '--pace: got 1d1ms, expected a duration from 0s to 1d'],
    [{ duration: 0 }, '--for: got 0s, expected a duration from 100ms to 366d'],
    [{ duration: 2_000, ramp: 3_000 }, '--ramp: got 3s, expected at most the duration, 2s'],
    [{ payload: 1_048_577 }, '--payload: got 1048577, expected a whole number from 0 to 1048576'],
    [{ mix: { https: 0 } }, '--mix: got nothing but 0, expected at least one above 0 of: https, mqtt'],
    [{ mix: { htps: 1 } as never }, '--mix: got "htps", expected one of: https, mqtt (did you mean https?)'],
    [{ enroll: { rest: -1 } }, '--enroll: got rest=-1, expected a number from 0 to 1000000'],
    [{ assertions: ['https.p99<5'] }, '--assert "https.p99<5": got no unit, expected one of: us, ms, s'],
  ])('%j', (given, expected) => {
    expect(detailOf(() => override(calm(), given))).toBe(expected)
  })

  test('an end before the last fault', () => {
    expect(detailOf(() => override(loadScenario('revocation-drill', '/'), { duration: 20_000 }))).toBe(
      'revocation-drill: timeline[1].at: got 25s, expected less than the end of the run, 20s',
    )
  })
})

describe('weights of an option', () => {
  test('a name is said once', () => {
    expect(detailOf(() => parseWeights('--mix', 'https=1,mqtt=1,https=2'))).toBe(
      '--mix: got https twice, expected each name once',
    )
  })

  test.each([
    ['https=1', { https: 1 }],
    ['rest=1,est=0.5', { rest: 1, est: 0.5 }],
  ])('%j', (text, expected) => {
    expect(parseWeights('--mix', text)).toEqual(expected)
  })

  test.each(['', 'https', 'https=', 'https=-1', 'https=1,', '=1', 'https=1e3', '__proto__=1'])(
    'not %j',
    (text) => {
      expect(detailOf(() => parseWeights('--mix', text))).toMatch(
        /^--mix: got ".*", expected weights such as https=1,mqtt=3$/,
      )
    },
  )
})
