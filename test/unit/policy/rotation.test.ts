/** When a new CA may be used and an old one taken away, as a table. */

import { describe, expect, test } from 'vitest'
import { ISSUER_STATES, type IssuerState } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import {
  judgeActivation,
  judgeRetirement,
  REVOCATION_MOVE,
  ROTATION_MOVES,
  ROTATION_VERBS,
  span,
} from '#policy/rotation.ts'

const NOW = Date.UTC(2026, 10, 25)

describe('where a verb leads', () => {
  test('nothing active is retired, nothing comes back from retired, nothing prepared signs', () => {
    const from = Object.fromEntries(ROTATION_VERBS.map((verb) => [verb, ROTATION_MOVES[verb].from]))
    expect(from).toEqual({
      distribute: ['prepared'],
      activate: ['offered', 'retiring'],
      retire: ['prepared', 'offered', 'retiring'],
    })
  })
  test('all but what is revoked can be revoked', () => {
    expect(ISSUER_STATES.filter((state) => !REVOCATION_MOVE.from.includes(state))).toEqual(['revoked'])
  })
})

describe('activation', () => {
  const judge = (o: {
    state?: IssuerState
    offered?: number
    fetched?: number
    active?: number
    force?: boolean
    minShare?: number
    minOffered?: number
  }) =>
    judgeActivation(
      {
        state: o.state ?? 'offered',
        offeredAt: o.offered === undefined ? undefined : NOW - o.offered,
        fetched: o.fetched ?? 0,
        active: o.active ?? 100,
      },
      {
        now: NOW,
        minOffered: o.minOffered ?? 7 * DAY,
        minShare: o.minShare ?? 0.95,
        force: o.force ?? false,
      },
    )

  test.each<[string, Parameters<typeof judge>[0], boolean, RegExp | undefined]>([
    ['just offered, fetched by nobody', { offered: 0 }, false, /0 minutes, of 7 days.*0 of 100.*0 %.*95 %/],
    ['a moment before the time', { offered: 7 * DAY - 1 }, false, /6\.9 days, of 7 days/],
    ['at the time', { offered: 7 * DAY }, true, /0 of 100.*the others do not know it/],
    ['a moment before the share', { offered: HOUR, fetched: 94 }, false, /94 of 100 .*\(94 %\)/],
    ['at the share', { offered: 0, fetched: 95 }, true, undefined],
    [
      'a share just below is not rounded up',
      { offered: 0, fetched: 949_999, active: 1_000_000 },
      false,
      /94\.9 %/,
    ],
    [
      'no device at all: only the time counts',
      { offered: 0, active: 0 },
      false,
      /no device .* Wait, or force it$/,
    ],
    ['no device at all, a moment before the time', { offered: 7 * DAY - 1, active: 0 }, false, /6\.9 days/],
    ['no device at all, at the time', { offered: 7 * DAY, active: 0 }, true, undefined],
    ['no device at all, forced', { offered: 0, active: 0, force: true }, true, undefined],
    [
      'no device at all, and everybody is asked for',
      { offered: 0, active: 0, minShare: 1 },
      false,
      undefined,
    ],
    ['no device at all, and no share is asked for', { offered: 0, active: 0, minShare: 0 }, true, undefined],
    ['forced', { offered: 0, force: true }, true, /0 of 100/],
    ['never offered, and the clock says nothing', {}, false, /0 minutes/],
    ['offered in the future: a clock that was set back', { offered: -DAY }, false, undefined],
    ['the way back: it was there all along', { state: 'retiring' }, true, undefined],
    ['everybody is asked for, one is missing', { offered: 0, minShare: 1, fetched: 99 }, false, /99 %/],
    ['no share is asked for', { offered: 0, minShare: 0 }, true, undefined],
  ])('%s', (_, facts, ok, text) => {
    const verdict = judge(facts)
    expect(verdict.ok).toBe(ok)
    if (text !== undefined) expect(verdict.ok ? verdict.warning : verdict.detail).toMatch(text)
    else if (verdict.ok) expect(verdict.warning).toBeUndefined()
  })
})

describe('retirement', () => {
  test.each<[number, string | undefined, boolean, boolean, RegExp | undefined]>([
    [0, undefined, false, true, undefined],
    [1, undefined, false, false, /^1 certificate of it is still in use\. Wait/],
    [2, undefined, false, false, /^2 certificates of it are still in use\. Wait/],
    [0, 'something leans on it', false, false, /^something leans on it\. Wait/],
    [2, 'something leans on it', true, true, /^2 certificates .*, and something leans on it$/],
  ])('%d certificates in use, %s, forced: %s', (live, inUse, force, ok, text) => {
    const verdict = judgeRetirement({ live, inUse, force })
    expect(verdict.ok).toBe(ok)
    if (text !== undefined) expect(verdict.ok ? verdict.warning : verdict.detail).toMatch(text)
  })
})

test.each<[number, string]>([
  [0, '0 minutes'],
  [MINUTE, '1 minute'],
  [90 * MINUTE, '1.5 hours'],
  [DAY, '1 day'],
  [7 * DAY - 1, '6.9 days'],
])('%d ms in words: %s', (ms, words) => {
  expect(span(ms)).toBe(words)
})
