/** Whether a threshold holds of the figures of a run. Pure. Not how it is written: assertions.ts. */

import type { SimulationReport } from '#wire/simulation-report.ts'
import { RATES, type Assertion, type Figure, type Operator } from './assertions.ts'

/** Of a report, and what only the coordinator knows. */
export type Figures = Pick<SimulationReport, 'measures' | 'counts' | 'refused' | 'errors'> & {
  readonly generator: Pick<SimulationReport['generator'], 'bound'>
  /** ms of load */
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

const sum = (counts: Readonly<Record<string, number>> | undefined): number =>
  Object.values(counts ?? {}).reduce((all, each) => all + each, 0)

type ByDoor = Readonly<Record<string, Readonly<Record<string, number>>>>

const ofDoor = (all: ByDoor, door: string | undefined): number =>
  door === undefined ? Object.values(all).reduce((total, each) => total + sum(each), 0) : sum(all[door])

type FigureOf<K extends Figure['kind']> = Extract<Figure, { readonly kind: K }>

/** undefined: nothing was measured */
const READ: {
  readonly [K in Figure['kind']]: (figure: FigureOf<K>, run: Figures) => number | undefined
} = {
  latency: ({ measure, statistic }, { measures }) => {
    const latency = measures[measure]
    return latency === undefined || latency.count === 0 ? undefined : latency[statistic]
  },
  samples: ({ measure }, { measures }) => measures[measure]?.count ?? 0,
  rate: ({ of }, { counts, duration, gathering }) => {
    const over = of === 'enroll' ? (gathering ?? duration) : duration
    const total = RATES[of].reduce((all, counter) => all + (counts[counter] ?? 0), 0)
    return over > 0 ? total / (over / 1_000) : undefined
  },
  count: ({ counter }, { counts }) => counts[counter] ?? 0,
  errors: ({ door }, { errors }) => ofDoor(errors, door),
  refused: ({ door, reason }, { refused }) => {
    if (door === undefined || reason === undefined) return ofDoor(refused, door)
    const counts = refused[door] ?? {}
    return Object.hasOwn(counts, reason) ? (counts[reason] as number) : 0
  },
  unexpected: (_, { refused, expected }) =>
    Object.entries(refused).reduce(
      (all, [door, reasons]) =>
        all +
        sum(
          Object.fromEntries(
            Object.entries(reasons).filter(([reason]) => expected?.has(`${door} ${reason}`) !== true),
          ),
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

/** What a generator that could not keep up says nothing about. That a rate was reached, it does say. */
const isBlind = ({ figure, operator }: Assertion, holds: boolean): boolean =>
  figure.kind === 'latency' || (figure.kind === 'rate' && !(holds && operator.startsWith('>')))

const rounded = (value: number): number => Number(value.toFixed(3))

/** Nothing measured proves nothing: it does not hold. */
export const judgeAssertion = (assertion: Assertion, run: Figures): AssertionVerdict => {
  const { figure, operator, value: bound } = assertion
  const value = (READ[figure.kind] as (figure: Figure, run: Figures) => number | undefined)(figure, run)
  if (value === undefined) return { held: false, value: null, why: 'never measured, which proves nothing' }
  const holds = HOLDS[operator](value, bound)
  const shown = rounded(value)
  const unit = UNIT[figure.kind] ?? ''
  if (run.generator.bound && isBlind(assertion, holds))
    return { held: null, value: shown, why: `not judged: ${BOTTLENECK} (it was ${shown}${unit})` }
  return { held: holds, value: shown, why: `it was ${shown}${unit}` }
}
