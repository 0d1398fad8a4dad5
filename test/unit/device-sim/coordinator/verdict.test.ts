/** What a run comes to. */

import { expect, test } from 'vitest'
import { judgeInvariants, judgeRun } from '#device-sim/coordinator/verdict.ts'
import { INVARIANTS } from '#device-sim/invariants/invariant.ts'

const finding = (broken: number, checked = 5) => ({
  name: 'no_token_returned' as const,
  checked,
  broken,
  evidence: broken > 0 ? ['GET /: header x'] : [],
})

test('every promise is in the report: kept, broken, or not put to the test', () => {
  const judged = judgeInvariants([finding(0), { ...finding(2), name: 'full_handshakes' }], { foreign: false })
  expect(judged.map(({ name }) => name)).toEqual(Object.keys(INVARIANTS))
  const of = (name: string) => judged.find((each) => each.name === name)
  expect(of('no_token_returned')).toMatchObject({ held: true, why: '', checked: 5 })
  expect(of('full_handshakes')).toMatchObject({ held: false, broken: 2, evidence: ['GET /: header x'] })
  expect(of('clones_noticed')).toMatchObject({ held: null, why: 'nothing in this run put it to the test' })
})

test('a foreign target is held to what any broker promises', () => {
  const judged = judgeInvariants([finding(1), { ...finding(0), name: 'own_topics_only' }], { foreign: true })
  expect(judged.filter(({ held }) => held !== null).map(({ name }) => name)).toEqual(['own_topics_only'])
  expect(judged.find(({ name }) => name === 'no_token_returned')).toMatchObject({
    held: null,
    broken: 0,
    why: 'not asked of a foreign target',
  })
})

test('what somebody has not told is not held, and what is broken stays broken', () => {
  const findings = [finding(0), { ...finding(2), name: 'full_handshakes' as const }]
  const judged = (unseen: Parameters<typeof judgeInvariants>[1]['unseen']) =>
    Object.fromEntries(
      judgeInvariants(findings, { foreign: false, unseen }).map(({ name, held, why }) => [name, [held, why]]),
    )
  const all = judged({ all: '1 of 2 workers did not tell' })
  expect(all).toMatchObject({
    no_token_returned: [null, '1 of 2 workers did not tell'],
    full_handshakes: [false, ''],
    clones_noticed: [null, '1 of 2 workers did not tell'],
  })
  expect(judged({ no_token_returned: 'x' })).toMatchObject({
    no_token_returned: [null, 'x'],
    clones_noticed: [null, 'nothing in this run put it to the test'],
  })
})

type Generator = Parameters<typeof judgeRun>[0]['generator']
const IDLE = { bound: false, reasons: [] }
const generatorOf = (o: Partial<Generator>): Generator => ({
  ...IDLE,
  gathering: IDLE,
  coordinator: IDLE,
  ...o,
})
const bound = (...reasons: string[]) => ({ bound: true, reasons })
const failed = { expectation: 'x.y', held: false, evidence: 'z' }
const broken = (name: string) =>
  ({ ...judgeInvariants([finding(3)], { foreign: false }).find(({ held }) => held === false), name }) as never

const good = {
  invariants: [],
  assertions: [],
  drills: [],
  drillsAsked: 0,
  trouble: null,
  cutShort: false,
  missed: [],
  counts: { admitted_https: 1 },
  refused: {},
  errors: {},
  generator: generatorOf({}),
}
const assertion = (held: boolean | null) => ({ text: 'a<1', held, value: 2, why: 'it was 2' })

test.each<[string, Partial<Parameters<typeof judgeRun>[0]>, readonly RegExp[]]>([
  ['nothing wrong', {}, []],
  ['an assertion that holds', { assertions: [assertion(true)] }, []],
  ['one that does not', { assertions: [assertion(false)] }, [/^a<1 does not hold: it was 2$/]],
  ['one that was not judged', { assertions: [assertion(null)] }, [/^a<1: it was 2$/]],
  ['trouble of ours', { trouble: 'worker 1 of 2 died (SIGKILL)' }, [/^the run itself: worker 1/]],
  [
    'an invariant',
    { invariants: judgeInvariants([finding(3)], { foreign: false }) },
    [/^no_token_returned was broken 3 times: GET/],
  ],
  [
    'the generator was the bottleneck: that stands first',
    {
      generator: generatorOf(bound('timers')),
      assertions: [assertion(false)],
      errors: { https: { timeout: 9 } },
    },
    [/^the load generator was the bottleneck \(timers\): errors may be its own/, /^a<1 does not hold/],
  ],
  [
    'and of what holds even so nothing is said',
    { generator: generatorOf(bound('timers')), assertions: [assertion(true)] },
    [],
  ],
  [
    'the same when a promise is broken that hangs on time',
    { generator: generatorOf(bound('timers')), invariants: [broken('renewed_in_time')] },
    [/^the load generator was the bottleneck \(timers\)$/, /^renewed_in_time was broken/],
  ],
  [
    'but not when it is one that does not',
    { generator: generatorOf(bound('timers')), invariants: [broken('no_token_returned')] },
    [/^no_token_returned was broken/],
  ],
  [
    'the same when a drill failed, which runs in the coordinator',
    { generator: generatorOf({ coordinator: bound('coordinator: busy') }), drills: [failed] },
    [
      /^the load generator was the bottleneck \(coordinator: busy\): drills may have failed/,
      /^drill x\.y failed/,
    ],
  ],
  [
    'in the coordinator no latency is measured',
    { generator: generatorOf({ coordinator: bound('busy') }), assertions: [assertion(false)] },
    [/^a<1 does not hold/],
  ],
  [
    'the enrolment has a generator of its own',
    {
      generator: generatorOf({ gathering: bound('keys') }),
      assertions: [{ ...assertion(null), text: 'rate.enroll>=5' }],
    },
    [/^the load generator was the bottleneck \(while the fleet enrolled, keys\)$/, /^rate\.enroll>=5: /],
  ],
  ['a drill', { drills: [{ expectation: 'x.y', held: false, evidence: 'z' }] }, [/^drill x\.y failed: z$/]],
  ['a fault that did not come about', { missed: ['entry 1'] }, [/^entry 1$/]],
  ['ended by somebody before its time', { cutShort: true }, [/^it was ended before its time$/]],
  ['drills that all were skipped', { drillsAsked: 26 }, [/^26 drills were asked for, and none ran$/]],
  ['drills that ran', { drillsAsked: 26, drills: [{ expectation: 'x.y', held: true, evidence: '' }] }, []],
  ['nothing at all', { counts: {} }, [/^nothing was admitted and nobody was enrolled/]],
  [
    'all were refused at the desk',
    { counts: {}, refused: { enroll: { token_spent: 9 } } },
    [/^nothing was admitted and nobody/],
  ],
  ['identities that were there before are no enrolment', { counts: { enrolled_state: 4 } }, [/^nothing/]],
  ['they enrolled, and that was all', { counts: { enrolled_est: 4 } }, []],
  [
    'they enrolled, and are refused as they should be',
    { counts: { enrolled_rest: 4 }, refused: { mqtt: { connack_5: 4 } }, errors: { https: { x: 1 } } },
    [],
  ],
  [
    'they enrolled, and no door ever answered',
    { counts: { enrolled_rest: 4 }, errors: { https: { 'target_unreachable: https://a: refused': 40 } } },
    [/^no door ever answered/],
  ],
  [
    'they enrolled, and every answer was an error',
    { counts: { enrolled_rest: 4 }, errors: { https: { http_404: 40, http_502: 2, 'closed early': 99 } } },
    [
      /^every answer was an error, or a no without a word of ours \(most often http_404\): nothing was admitted/,
    ],
  ],
  [
    'they enrolled, and somebody before the door said no',
    { counts: { enrolled_rest: 4 }, refused: { https: { http_403: 40 } } },
    [/most often http_403\): nothing was admitted and no door refused anything$/],
  ],
  [
    'the same, and a door refused one',
    { counts: { enrolled_rest: 4 }, refused: { https: { http_403: 40, certificate_revoked: 1 } } },
    [],
  ],
  [
    'they enrolled, and all waited in vain',
    { counts: { enrolled_rest: 4, unanswered: 4 } },
    [/^no door ever answered/],
  ],
])('%s', (_, wrong, says) => {
  const { ok, reasons } = judgeRun({ ...good, ...wrong })
  expect(ok).toBe(says.length === 0)
  expect(reasons).toHaveLength(says.length)
  for (const [at, pattern] of says.entries()) expect(reasons[at]).toMatch(pattern)
})
