/** What a run comes to: its promises and thresholds, each kept, broken or not judged, and the reasons why it is not ok. Pure. */

import type { SimulationReport } from '#wire/simulation-report.ts'
import { INVARIANTS, type Finding, type InvariantName } from '../invariants/invariant.ts'

type Invariant = SimulationReport['invariants'][number]

/** What a target that is not ours is held to; it may have its reasons for the rest. */
const OF_ANY_TARGET: readonly InvariantName[] = ['own_topics_only', 'acknowledged_is_delivered']

/** @param o.foreign a target that is not a Sallyport */
export const judgeInvariants = (
  findings: readonly Finding[],
  o: { readonly foreign: boolean },
): Invariant[] =>
  (Object.keys(INVARIANTS) as InvariantName[]).map((name) => {
    const promise = INVARIANTS[name]
    if (o.foreign && !OF_ANY_TARGET.includes(name)) {
      const why = 'not asked of a foreign target'
      return { name, promise, held: null, why, checked: 0, broken: 0, evidence: [] }
    }
    const { checked, broken, evidence } = findings.find((each) => each.name === name) ?? {
      checked: 0,
      broken: 0,
      evidence: [],
    }
    const held = broken > 0 ? false : checked > 0 ? true : null
    const why = held === null ? 'nothing in this run put it to the test' : ''
    return { name, promise, held, why, checked, broken, evidence: [...evidence] }
  })

type Judged = Pick<SimulationReport, 'invariants' | 'assertions' | 'drills'> & {
  readonly trouble: string | null
  /** faults that the scenario asked for and that did not come about */
  readonly missed: readonly string[]
}

export const judgeRun = (o: Judged): SimulationReport['verdict'] => {
  const reasons = [
    ...(o.trouble === null ? [] : [`the run itself: ${o.trouble}`]),
    ...o.invariants
      .filter(({ held }) => held === false)
      .map(
        ({ name, broken, evidence }) => `${name} was broken ${broken} times: ${evidence[0] ?? 'no evidence'}`,
      ),
    // an invariant that was not put to the test is no failure; a threshold that somebody asked for is
    ...o.assertions
      .filter(({ held }) => held !== true)
      .map(({ text, held, why }) => `${text}${held === false ? ' does not hold' : ''}: ${why}`),
    ...o.drills
      .filter(({ held }) => !held)
      .map(({ expectation, evidence }) => `drill ${expectation} failed: ${evidence}`),
    ...o.missed,
  ]
  return { ok: reasons.length === 0, reasons }
}
