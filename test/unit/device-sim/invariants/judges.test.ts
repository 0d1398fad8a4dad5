import { describe, expect, test } from 'vitest'
import { certificatesVerify } from '#device-sim/invariants/certificates-verify.ts'
import { clonesNoticed } from '#device-sim/invariants/clones-noticed.ts'
import { mergeFindings } from '#device-sim/invariants/finding.ts'
import { meterFindings } from '#device-sim/invariants/from-meter.ts'
import { INVARIANTS, type Finding } from '#device-sim/invariants/invariant.ts'
import type { Judge } from '#device-sim/invariants/judge.ts'
import { createJudges } from '#device-sim/invariants/judges.ts'
import { ownTopicsOnly } from '#device-sim/invariants/own-topics-only.ts'
import { eventOf, found, START, type Step } from './events.ts'

const delivered: Step = [0, { kind: 'delivered', topic: 't', seq: 1, millis: 1 }]
const renewed = (at: number): Step => [at, { kind: 'renewed', millis: 10, notAfter: 2, before: 1 }]
const cloned = (rival: 'renewal' | 'connection', outcome: string): Step => [
  1_000,
  { kind: 'cloned', rival, outcome },
]
const suspected: Step = [2_000, { kind: 'refused', door: 'enroll', reason: 'clone_suspected', millis: 1 }]

const rows: readonly [string, Judge, readonly Step[], checked: number, broken: number, evidence?: RegExp][] =
  [
    ['hears its own', ownTopicsOnly(), [delivered, delivered], 2, 0],
    ['is kept out of what is not', ownTopicsOnly(), [[0, { kind: 'kept_out', topic: '#' }]], 1, 0],
    [
      'hears what is not',
      ownTopicsOnly(),
      [delivered, [0, { kind: 'stray', topic: 'devices/x/\u0007' }]],
      2,
      1,
      /devices\/x\/\\u0007/,
    ],
    [
      'certificates that are right',
      certificatesVerify(),
      [[0, { kind: 'enrolled', via: 'est', millis: 1, notAfter: 1 }], renewed(5)],
      2,
      0,
    ],
    [
      'those of an earlier run',
      certificatesVerify(),
      [[0, { kind: 'enrolled', via: 'state', millis: 1, notAfter: 1 }]],
      0,
      0,
    ],
    [
      'one that is not',
      certificatesVerify(),
      [[0, { kind: 'unverified', detail: 'wrong key' }]],
      1,
      1,
      /wrong key/,
    ],
    ['a copy that is told so', clonesNoticed(), [cloned('renewal', 'clone_suspected')], 1, 0],
    [
      'a copy that renewed, and the original is told',
      clonesNoticed(),
      [cloned('renewal', 'renewed'), suspected],
      1,
      0,
    ],
    [
      'the original is told while the copy is there',
      clonesNoticed(),
      [suspected, cloned('connection', 'admitted')],
      1,
      0,
    ],
    ['told, and nobody has copied it', clonesNoticed(), [suspected], 0, 0],
    [
      'a copy that was refused for another reason',
      clonesNoticed(),
      [cloned('connection', 'connack_5')],
      0,
      0,
    ],
  ]

describe('a judge', () => {
  test.each(rows)('%s', (_, judge, steps, checked, broken, evidence) => {
    const one = found(judge, steps, 60_000)
    expect(one).toMatchObject({ checked, broken })
    if (evidence !== undefined) expect(one.evidence.join('\n')).toMatch(evidence)
  })

  test.each<[string, readonly Step[], readonly string[]]>([
    ['beside the original', [cloned('connection', 'admitted')], ['d']],
    ['both have renewed and use it', [cloned('renewal', 'admitted'), renewed(5_000)], ['d']],
    [
      'the original has renewed while the copy was at it',
      [renewed(1_500), cloned('renewal', 'admitted')],
      ['d'],
    ],
    ['the original had renewed before it was copied', [renewed(500), cloned('renewal', 'admitted')], []],
    ['the original has not renewed yet', [cloned('renewal', 'admitted')], []],
    ['it renewed and does not use it', [cloned('renewal', 'renewed'), renewed(5_000)], []],
    ['a client was told', [cloned('connection', 'admitted'), suspected], []],
    ['it did not get in', [cloned('connection', 'target_unreachable')], []],
    ['nobody', [renewed(5_000)], []],
  ])('asks the operator about a copy: %s', (_, steps, expected) => {
    const judge = clonesNoticed()
    found(judge, steps, 60_000)
    expect(judge.unsettled()).toEqual(expected)
  })
})

describe('all judges', () => {
  const bounds = { revokedWithin: 1_000, drain: 5_000 }

  test('hear what concerns them, through one sink', () => {
    const judges = createJudges({ bounds, clean: true, qos: 1 })
    const steps: readonly Step[] = [
      [0, { kind: 'enrolled', via: 'rest', millis: 1, notAfter: START + 30_000 }],
      [10, { kind: 'listening', present: false }],
      [20, { kind: 'published', topic: 't', seq: 1, millis: 1, acknowledged: true }],
      [30, { kind: 'stray', topic: 'x' }],
      [35, { kind: 'burst', topic: 't', seq: 2, count: 9 }],
      [40, { kind: 'unverified', detail: 'x' }],
      [50, { kind: 'cloned', rival: 'connection', outcome: 'admitted' }],
      [60, { kind: 'revoked' }, 'e'],
      [9_000, { kind: 'admitted', door: 'https', target: '/', millis: 1 }, 'e'],
      [9_000, { kind: 'listening', present: false }, 'f'],
      [9_100, { kind: 'published', topic: 't', seq: 1, millis: 1, acknowledged: true }, 'f'],
    ]
    for (const step of steps) judges.sink(eventOf(step))
    const broken = Object.fromEntries(judges.findings(START + 60_000).map((each) => [each.name, each.broken]))
    expect(broken).toEqual({
      revoked_stay_out: 1,
      own_topics_only: 1,
      acknowledged_is_delivered: 1,
      certificates_verify: 1,
      renewed_in_time: 1,
      clones_noticed: 0,
    })
    expect(judges.unsettled()).toEqual(['d'])
  })

  test('at QoS 0 nobody has promised to deliver', () => {
    const judges = createJudges({ bounds, clean: true, qos: 0 })
    expect(judges.findings(START).map(({ name }) => name)).not.toContain('acknowledged_is_delivered')
  })
})

test('what the meter saw', () => {
  const quiet = {
    handshakes: 5,
    resumed: 0,
    answers: 4,
    tokensReturned: 0,
    tokenEvidence: [],
    bytesSent: 0,
    bytesReceived: 0,
  }
  expect(meterFindings(quiet)).toEqual([
    { name: 'full_handshakes', checked: 0, broken: 0, evidence: [] },
    { name: 'no_token_returned', checked: 4, broken: 0, evidence: [] },
  ])
  const [resumed, token] = meterFindings({
    ...quiet,
    resumed: 2,
    tokensReturned: 1,
    tokenEvidence: ['GET /: body'],
  })
  expect(resumed).toMatchObject({
    checked: 2,
    broken: 2,
    evidence: ["2 of 7 handshakes were resumed, by the clients' own view"],
  })
  expect(token).toMatchObject({ checked: 4, broken: 1, evidence: ['GET /: body'] })
})

test('findings of many parts are one of each promise', () => {
  const evidence = Array.from({ length: 8 }, (_, at) => `case ${at}`)
  const resumed = (checked: number): Finding => ({ name: 'full_handshakes', checked, broken: 8, evidence })
  const merged = mergeFindings([
    [resumed(10), { name: 'own_topics_only', checked: 5, broken: 0, evidence: [] }],
    [resumed(20)],
    [],
  ])
  expect(merged.map(({ name }) => name)).toEqual(Object.keys(INVARIANTS))
  expect(merged.find(({ name }) => name === 'full_handshakes')).toMatchObject({ checked: 30, broken: 16 })
  expect(merged.find(({ name }) => name === 'full_handshakes')?.evidence).toHaveLength(10)
  expect(merged.find(({ name }) => name === 'own_topics_only')).toMatchObject({ checked: 5, broken: 0 })
  expect(merged.find(({ name }) => name === 'renewed_in_time')).toMatchObject({
    checked: 0,
    broken: 0,
    evidence: [],
  })
})
