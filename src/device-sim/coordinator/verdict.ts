/** What a run comes to: its promises and thresholds, each kept, broken or not judged, and the reasons why it is not ok. Pure. */

import type { SimulationReport } from '#wire/simulation-report.ts'
import { total } from '../measure/counts.ts'
import { isAnswer, isDenial } from '../words.ts'
import { INVARIANTS, type Finding, type InvariantName } from '../invariants/invariant.ts'

type Invariant = SimulationReport['invariants'][number]

/** What a target that is not ours is held to; it may have its reasons for the rest. */
const OF_ANY_TARGET: readonly InvariantName[] = ['own_topics_only', 'acknowledged_is_delivered']

/**
 * @param o.foreign a target that is not a Sallyport
 * @param o.unseen what was not looked at, by promise, or of all: it may be broken there
 * @param o.unobserved a part of what is judged all the same
 */
export const judgeInvariants = (
  findings: readonly Finding[],
  o: {
    readonly foreign: boolean
    readonly unseen?: { readonly [K in InvariantName | 'all']?: string | undefined } | undefined
    readonly unobserved?: { readonly [K in InvariantName]?: string | undefined } | undefined
  },
): Invariant[] =>
  (Object.keys(INVARIANTS) as InvariantName[]).map((name) => {
    const promise = INVARIANTS[name]
    if (o.foreign && !OF_ANY_TARGET.includes(name)) {
      const why = 'not asked of a foreign target'
      return { name, promise, held: null, why, unobserved: '', checked: 0, broken: 0, evidence: [] }
    }
    const { checked, broken, evidence } = findings.find((each) => each.name === name) ?? {
      checked: 0,
      broken: 0,
      evidence: [],
    }
    const unseen = o.unseen?.all ?? o.unseen?.[name]
    const held = broken > 0 ? false : checked > 0 && unseen === undefined ? true : null
    const why = held === null ? (unseen ?? 'nothing in this run put it to the test') : ''
    const unobserved = o.unobserved?.[name] ?? ''
    return { name, promise, held, why, unobserved, checked, broken, evidence: [...evidence] }
  })

type Judged = Pick<
  SimulationReport,
  'invariants' | 'assertions' | 'drills' | 'counts' | 'refused' | 'errors'
> & {
  readonly trouble: string | null
  /** in which it was the bottleneck itself */
  readonly generator: Pick<SimulationReport['generator'], 'bound' | 'reasons' | 'gathering' | 'coordinator'>
  /** ended by somebody before its duration */
  readonly cutShort: boolean
  /** drills that were asked for */
  readonly drillsAsked: number
  /** faults that the scenario asked for and that did not come about */
  readonly missed: readonly string[]
}

const ADMITTED = ['admitted_https', 'admitted_mqtt'] as const
const ENROLLED = ['enrolled_rest', 'enrolled_est', 'enrolled_mqtt'] as const
const DOORS = ['https', 'mqtt'] as const

/** Where nothing happened, nothing can be wrong; that is no proof of anything. */
const nothingSeen = ({ counts, refused, errors }: Judged): readonly string[] => {
  const some = (names: readonly string[]): boolean => names.some((name) => (counts[name] ?? 0) > 0)
  if (some(ADMITTED)) return []
  if (!some(ENROLLED)) return ['nothing was admitted and nobody was enrolled: nothing was put to the test']
  const at = (all: Judged['refused']): number => DOORS.reduce((sum, door) => sum + total(all[door] ?? {}), 0)
  const wordless = Object.entries(refused['https'] ?? {}).filter(([said]) => !isDenial(said))
  const byDoors = at(refused) - total(Object.fromEntries(wordless))
  if (byDoors > 0 || at(errors) + wordless.length + (counts['unanswered'] ?? 0) === 0) return []
  const answers = DOORS.flatMap((door) => Object.entries(errors[door] ?? {})).filter(([said]) =>
    isAnswer(said),
  )
  const [often] = [...answers, ...wordless].toSorted(([, a], [, b]) => b - a)
  return [
    often === undefined
      ? 'no door ever answered a device: nothing was admitted and nothing was refused'
      : `every answer was an error, or a no without a word of ours (most often ${often[0]}): nothing was admitted and no door refused anything`,
  ]
}

/** Promises that a late client may see broken: it judges by when something came, and had not asked in time, or not looked. */
const OF_TIME: readonly string[] = [
  'revoked_stay_out',
  'acknowledged_is_delivered',
  'renewed_in_time',
  'clones_noticed',
] satisfies InvariantName[]

/** Of what went wrong, what a process that had no time may have done itself. @returns why it is thought so; undefined: it had time, or did nothing */
const bottleneckOf = ({ generator, assertions, invariants, drills }: Judged): string | undefined => {
  const { bound, reasons, gathering, coordinator } = generator
  const unkept = assertions.filter(({ held }) => held !== true)
  const late =
    drills.some(({ held }) => !held) ||
    invariants.some(({ name, held }) => held === false && OF_TIME.includes(name))
  if (bound && (unkept.length > 0 || late)) return reasons[0]
  if (coordinator.bound && late) return coordinator.reasons[0]
  return gathering.bound && unkept.some(({ text }) => /^(?:\w+\.)?enroll\b/.test(text))
    ? `while the fleet enrolled, ${gathering.reasons[0]}`
    : undefined
}

/** Said first: whoever reads the first line of what follows would look for the mistake at the target. */
const bottleneckWords = (o: Judged): readonly string[] => {
  const why = bottleneckOf(o)
  if (why === undefined) return []
  const some = Object.values(o.errors).some((reasons) => total(reasons) > 0)
  const late = o.drills.some(({ held }) => !held) ? ': drills may have failed for want of time' : ''
  return [
    `the load generator was the bottleneck (${why})${some ? ': errors may be its own, timeouts above all' : late}`,
  ]
}

export const judgeRun = (o: Judged): SimulationReport['verdict'] => {
  const reasons = [
    ...bottleneckWords(o),
    ...(o.trouble === null ? [] : [`the run itself: ${o.trouble}`]),
    ...(o.cutShort ? ['it was ended before its time'] : []),
    ...nothingSeen(o),
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
    ...(o.drillsAsked > 0 && o.drills.length === 0
      ? [`${o.drillsAsked} drills were asked for, and none ran`]
      : []),
    ...o.missed,
  ]
  return { ok: reasons.length === 0, reasons }
}
