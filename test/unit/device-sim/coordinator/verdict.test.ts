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

const good = { invariants: [], assertions: [], drills: [], trouble: null, missed: [] }
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
  ['a drill', { drills: [{ expectation: 'x.y', held: false, evidence: 'z' }] }, [/^drill x\.y failed: z$/]],
  ['a fault that did not come about', { missed: ['entry 1'] }, [/^entry 1$/]],
])('%s', (_, wrong, says) => {
  const { ok, reasons } = judgeRun({ ...good, ...wrong })
  expect(ok).toBe(says.length === 0)
  expect(reasons).toHaveLength(says.length)
  for (const [at, pattern] of says.entries()) expect(reasons[at]).toMatch(pattern)
})
