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
    { bottleneck: 'timers', assertions: [assertion(false)], errors: { https: { timeout: 9 } } },
    [/^the load generator was the bottleneck \(timers\): errors may be its own/, /^a<1 does not hold/],
  ],
  ['and of what holds even so nothing is said', { bottleneck: 'timers', assertions: [assertion(true)] }, []],
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
    { counts: { enrolled_rest: 4 }, errors: { https: { http_500: 40 } } },
    [/^no door ever answered/],
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
