import { describe, expect, test } from 'vitest'
import { renewedInTime } from '#device-sim/invariants/renewed-in-time.ts'
import { found, START, type Step } from './events.ts'

const enrolled = (at: number, notAfter: number, via: 'rest' | 'given' | 'state' = 'rest'): Step => [
  at,
  { kind: 'enrolled', via, millis: 10, notAfter: START + notAfter },
]
const renewed = (at: number, before: number, notAfter: number, millis = 100): Step => [
  at,
  { kind: 'renewed', millis, before: START + before, notAfter: START + notAfter },
]
const say = (at: number, kind: 'revoked' | 'suspended' | 'resumed' | 'away' | 'back'): Step => [at, { kind }]
const refused = (at: number, reason = 'quota_exceeded'): Step => [
  at,
  { kind: 'refused', door: 'enroll', reason, millis: 1 },
]
const cloned = (at: number, outcome: string): Step => [at, { kind: 'cloned', rival: 'renewal', outcome }]

const END = 100_000
// the drain is 5,000 ms; certificates of 60 s
const rows: readonly [string, readonly Step[], checked: number, broken: number, evidence?: RegExp][] = [
  ['none expires', [enrolled(0, 200_000)], 0, 0],
  ['renewed before', [enrolled(0, 60_000), renewed(40_000, 60_000, 120_000)], 1, 0],
  ['not renewed', [enrolled(0, 60_000)], 1, 1, /not renewed, and its certificate had expired at 2027-/],
  [
    'not renewed, for the desk did not let it',
    [enrolled(0, 60_000), refused(50_000)],
    1,
    1,
    /the desk had said "quota_exceeded"/,
  ],
  ['renewed after', [enrolled(0, 60_000), renewed(60_500, 60_000, 120_000)], 1, 1, /renewed, but only when/],
  ['asked before, done just after', [enrolled(0, 60_000), renewed(59_900, 60_000, 120_000, 3_000)], 1, 0],
  ['asked before, done much later', [enrolled(0, 60_000), renewed(59_900, 60_000, 120_000, 9_000)], 1, 1],
  ['expires within the drain at the end', [enrolled(0, END - 2_000)], 0, 0],
  ['the second certificate', [enrolled(0, 30_000), renewed(20_000, 30_000, 60_000)], 2, 1],
  ['away', [enrolled(0, 60_000), say(50_000, 'away')], 0, 0],
  [
    'away, and renewed soon after it is back',
    [enrolled(0, 60_000), say(50_000, 'away'), say(80_000, 'back'), renewed(80_100, 60_000, 140_000)],
    1,
    0,
  ],
  [
    'away, and renewed too late',
    [enrolled(0, 60_000), say(50_000, 'away'), say(80_000, 'back'), renewed(86_000, 60_000, 140_000)],
    1,
    1,
  ],
  ['away, and never renewed', [enrolled(0, 60_000), say(50_000, 'away'), say(80_000, 'back')], 1, 1],
  ['away when it had expired already', [enrolled(0, 60_000), say(70_000, 'away')], 1, 1],
  [
    'judged once',
    [enrolled(0, 60_000), say(70_000, 'away'), say(75_000, 'back'), renewed(95_000, 60_000, 155_000)],
    1,
    1,
  ],
  ['back long before: no excuse', [enrolled(0, 60_000), say(10_000, 'away'), say(20_000, 'back')], 1, 1],
  [
    'back just before: the drain is its time',
    [enrolled(0, 60_000), say(10_000, 'away'), say(59_000, 'back'), renewed(62_000, 60_000, 120_000)],
    1,
    0,
  ],
  ['revoked', [enrolled(0, 60_000), say(50_000, 'revoked')], 0, 0],
  ['revoked, heard of at the very end', [enrolled(0, 60_000), say(59_000, 'revoked')], 0, 0],
  ['suspended', [enrolled(0, 60_000), say(50_000, 'suspended')], 0, 0],
  [
    'suspended and resumed, and renewed then',
    [enrolled(0, 60_000), say(50_000, 'suspended'), say(70_000, 'resumed'), renewed(71_000, 60_000, 131_000)],
    1,
    0,
  ],
  [
    'suspended and resumed, and never renewed',
    [enrolled(0, 60_000), say(50_000, 'suspended'), say(70_000, 'resumed')],
    1,
    1,
  ],
  [
    'away and suspended: both have to end',
    [enrolled(0, 60_000), say(40_000, 'away'), say(50_000, 'suspended'), say(55_000, 'back')],
    0,
    0,
  ],
  [
    'kept from an earlier run, expired long ago, renewed at once',
    [enrolled(0, -9_000_000, 'state'), renewed(2_000, -9_000_000, 60_000 + END)],
    1,
    0,
  ],
  ['kept from an earlier run, and never renewed', [enrolled(0, -9_000_000, 'state')], 1, 1],
  [
    'the original of a copy, which was noticed',
    [enrolled(0, 60_000), cloned(20_000, 'renewed'), refused(50_000, 'clone_suspected')],
    0,
    0,
  ],
  [
    'the original of a copy, which the group revokes for it',
    [enrolled(0, 60_000), cloned(20_000, 'admitted'), refused(50_000, 'certificate_revoked')],
    0,
    0,
  ],
  [
    'refused the same, and nobody has copied it',
    [enrolled(0, 60_000), refused(50_000, 'certificate_revoked')],
    1,
    1,
    /the desk had said "certificate_revoked"/,
  ],
  [
    'copied, and refused for another reason',
    [enrolled(0, 60_000), cloned(20_000, 'admitted'), refused(50_000, 'quota_exceeded')],
    1,
    1,
  ],
  ['given: nobody renews those', [enrolled(0, 60_000, 'given')], 0, 0],
]

describe('renewed in time', () => {
  test.each(rows)('%s', (_, steps, checked, broken, evidence) => {
    const finding = found(renewedInTime(5_000), steps, END)
    expect(finding).toMatchObject({ name: 'renewed_in_time', checked, broken })
    if (evidence !== undefined) expect(finding.evidence.join('\n')).toMatch(evidence)
  })
})

describe('a fleet that is waited for', () => {
  const judged = (start: number, renewal: Step, at = END) => {
    const judge = renewedInTime(5_000, () => ({ start, clockOffset: 0 }))
    found(judge, [enrolled(0, 15_000)], 0)
    judge.started?.(START + 40_000)
    return found(judge, [renewal], at)
  }
  test.each([
    ['renewed once it may', 0, 41_000, 0],
    ['its own turn comes later', 20_000, 61_000, 0],
    ['not renewed soon after', 0, 46_000, 1],
  ])('%s', (_, start, at, broken) => {
    expect(judged(start, renewed(at, 15_000, 90_000 + END))).toMatchObject({ checked: 1, broken })
  })
})

test.each([
  [-7_200_000, /its own clock is 7200 s slow: that is the device's failure, not the server's$/],
  [3_000, /its own clock is 3 s fast: that is/],
])('a clock that is wrong by %d ms is no excuse, and is named', (clockOffset, words) => {
  const judge = renewedInTime(5_000, () => ({ start: 0, clockOffset }))
  const { broken, evidence } = found(judge, [enrolled(0, 60_000), renewed(61_000, 60_000, 120_000)], END)
  expect(broken).toBe(1)
  expect(evidence[0]).toMatch(words)
})
