/** Whether a threshold holds of the figures of a run. Pure. Not how it is written: assertions.ts. */

import type { SimulationReport } from '#wire/simulation-report.ts'
import { total, totalOfDoors, type CountsByDoor } from '../measure/counts.ts'
import type { Ranked } from '../measure/histograms.ts'
import { OTHERS } from '../measure/texts.ts'
import { wordIn } from '../words.ts'
import { RATES, type Assertion, type Figure, type Operator } from './assertions.ts'

/** Of a report, and what only the coordinator knows. */
export type Figures = Pick<SimulationReport, 'measures' | 'counts' | 'refused' | 'errors'> & {
  readonly generator: Pick<SimulationReport['generator'], 'bound' | 'gathering'>
  readonly load: SimulationReport['run']['load']
  /** the measures, with what is missing in them behind all others: Infinity where a rank is among it */
  readonly ranked: Readonly<Record<string, Ranked>>
  /** ms of load, without the drain */
  readonly duration: number
  /** ms in which the fleet enrolled, before the load; undefined: it enrolled during it */
  readonly gathering?: number | undefined
  /** `<door> <reason>` that the scenario is bound to meet: expectedRefusals; undefined: none */
  readonly expected?: ReadonlySet<string> | undefined
}

export type AssertionVerdict = {
  /** null: not judged */
  readonly held: boolean | null
  /** in the unit of the assertion; null: never measured */
  readonly value: number | null
  readonly why: string
}

const ofDoor = (all: CountsByDoor, door: string | undefined): number =>
  door === undefined ? totalOfDoors(all) : Object.hasOwn(all, door) ? total(all[door] ?? {}) : 0

const ofReason = (all: CountsByDoor, door: string | undefined, reason: string | undefined): number => {
  if (door === undefined || reason === undefined) return ofDoor(all, door)
  const counts = Object.hasOwn(all, door) ? (all[door] ?? {}) : {}
  return Object.entries(counts).reduce(
    (sum, [said, count]) => (wordIn(said) === reason ? sum + count : sum),
    0,
  )
}

/** So much else was said at that door that not all of it was kept apart: how often this was among it nobody knows. */
const isUncertain = (figure: Figure, run: Figures): boolean => {
  if ((figure.kind !== 'errors' && figure.kind !== 'refused') || figure.reason === undefined) return false
  return ofReason(run[figure.kind], figure.door, OTHERS) > 0
}

type FigureOf<K extends Figure['kind']> = Extract<Figure, { readonly kind: K }>

/** undefined: nothing was measured */
const READ: {
  readonly [K in Figure['kind']]: (figure: FigureOf<K>, run: Figures) => number | undefined
} = {
  latency: ({ measure, statistic }, { measures, ranked }) =>
    (measures[measure]?.count ?? 0) === 0 ? undefined : ranked[measure]?.[statistic],
  samples: ({ measure }, { measures }) => measures[measure]?.count ?? 0,
  rate: ({ of }, { counts, duration, gathering }) => {
    const over = of === 'enroll' ? (gathering ?? duration) : duration
    const often = RATES[of].reduce((all, counter) => all + (counts[counter] ?? 0), 0)
    return over > 0 ? often / (over / 1_000) : undefined
  },
  count: ({ counter }, { counts }) => counts[counter] ?? 0,
  errors: ({ door, reason }, { errors }) => ofReason(errors, door, reason),
  refused: ({ door, reason }, { refused }) => ofReason(refused, door, reason),
  unexpected: (_, { refused, expected }) =>
    Object.entries(refused).reduce(
      (all, [door, reasons]) =>
        all +
        Object.entries(reasons).reduce(
          (sum, [reason, count]) => (expected?.has(`${door} ${reason}`) === true ? sum : sum + count),
          0,
        ),
      0,
    ),
}

const HOLDS: Readonly<Record<Operator, (value: number, bound: number) => boolean>> = {
  '<': (value, bound) => value < bound,
  '<=': (value, bound) => value <= bound,
  '>': (value, bound) => value > bound,
  '>=': (value, bound) => value >= bound,
  '==': (value, bound) => value === bound,
  '!=': (value, bound) => value !== bound,
}

const UNIT: Partial<Readonly<Record<Figure['kind'], string>>> = { latency: ' ms', rate: '/s' }

const BOTTLENECK = 'the load generator was the bottleneck'

const isUpper = (operator: Operator): boolean => operator.startsWith('<')

const isOfEnrolment = (figure: Figure): boolean =>
  (figure.kind === 'latency' && figure.measure === 'enroll') ||
  (figure.kind === 'rate' && figure.of === 'enroll')

/** Who made the load that the figure is of. */
const wasBound = (figure: Figure, { generator, gathering }: Figures): boolean =>
  isOfEnrolment(figure) && gathering !== undefined ? generator.gathering.bound : generator.bound

/**
 * What a generator that could not keep up says nothing about. That a rate was reached, it does say; and where latency counts from when a turn was
 * due, its own delay only makes it longer: what is short enough even so is short enough.
 */
const isBlind = ({ figure, operator }: Assertion, holds: boolean, { load }: Figures): boolean => {
  if (figure.kind === 'rate') return !(holds && operator.startsWith('>'))
  return figure.kind === 'latency' && !(holds && isUpper(operator) && load === 'open')
}

const rounded = (value: number): number => Number(value.toFixed(3))

/** Of a latency that reaches among those that are missing. */
const beyond = ({ figure }: Assertion, { measures }: Figures): string => {
  const {
    count = 0,
    missing = 0,
    max = 0,
  } = (figure.kind === 'latency' ? measures[figure.measure] : undefined) ?? {}
  return `it was more than ${rounded(max)} ms: ${missing} of ${count + missing} were never answered, or failed, or were never begun`
}

/** Nothing measured proves nothing: it does not hold. */
export const judgeAssertion = (assertion: Assertion, run: Figures): AssertionVerdict => {
  const { figure, operator, value: bound } = assertion
  const value = (READ[figure.kind] as (figure: Figure, run: Figures) => number | undefined)(figure, run)
  if (value === undefined) return { held: false, value: null, why: 'never measured, which proves nothing' }
  // of those that are missing nobody knows how long they took: no threshold is proved by them, from whichever side
  const isKnown = value !== Infinity
  const holds = isKnown && HOLDS[operator](value, bound)
  const found = isKnown ? `it was ${rounded(value)}${UNIT[figure.kind] ?? ''}` : beyond(assertion, run)
  const shown = isKnown ? rounded(value) : null
  if (isUncertain(figure, run))
    return {
      held: null,
      value: shown,
      why: `not judged: so many different things were said there that not all were kept apart (${found})`,
    }
  if (wasBound(figure, run) && isBlind(assertion, holds, run))
    return { held: null, value: shown, why: `not judged: ${BOTTLENECK} (${found})` }
  return { held: holds, value: shown, why: found }
}
