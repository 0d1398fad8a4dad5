/**
 * Thresholds as people write them: `<figure><op><value>[unit]`, such as `https.p99<500ms`, `rate.https>=200/s`, `refused.mqtt.connack_5==0`.
 * Not whether they hold: judge.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import type { Door } from '../events.ts'
import { COUNTERS, MEASURES, type Counter, type Measure } from '../measure/measures.ts'
import { COUNTED_WORDS, insteadOf, isCounted, type Outcome } from '../words.ts'
import { shown } from './complaint.ts'
import { oneOf } from './nearest.ts'

export const STATISTICS = ['p50', 'p90', 'p99', 'p999', 'max', 'min', 'mean'] as const
export type Statistic = (typeof STATISTICS)[number]

/** Each is a sum of counters, per second. */
export const RATES = {
  https: ['admitted_https'],
  mqtt: ['admitted_mqtt'],
  published: ['published'],
  delivered: ['delivered'],
  enroll: ['enrolled_rest', 'enrolled_est', 'enrolled_mqtt'],
} as const satisfies Readonly<Record<string, readonly Counter[]>>
export type Rate = keyof typeof RATES

export const DOORS = ['enroll', 'https', 'mqtt'] as const satisfies readonly Door[]

export type Figure =
  | { readonly kind: 'latency'; readonly measure: Measure; readonly statistic: Statistic }
  | { readonly kind: 'samples'; readonly measure: Measure }
  | { readonly kind: 'rate'; readonly of: Rate }
  | { readonly kind: 'count'; readonly counter: Counter }
  | { readonly kind: Outcome; readonly door: Door | undefined; readonly reason: string | undefined }
  /** refusals that nothing in the timeline explains; see expected.ts */
  | { readonly kind: 'unexpected' }

// the longer first
export const OPERATORS = ['<=', '>=', '==', '!=', '<', '>'] as const
export type Operator = (typeof OPERATORS)[number]

export type Assertion = {
  /** without the spaces around it */
  readonly text: string
  readonly figure: Figure
  readonly operator: Operator
  /** ms for a latency, per second for a rate, else how often */
  readonly value: number
}

type Problem = { readonly got: string; readonly expected: string }
type Read<T> = { readonly value: T } | { readonly problem: Problem }

const wrong = (got: string, expected: string): { readonly problem: Problem } => ({
  problem: { got, expected },
})

const MEASURE_NAMES = Object.keys(MEASURES) as Measure[]
const RATE_NAMES = Object.keys(RATES) as Rate[]
const HEADS = [...new Set([...MEASURE_NAMES, 'rate', 'errors', 'refused', ...COUNTERS])]

const includes = <T extends string>(names: readonly T[], name: string | undefined): name is T =>
  (names as readonly (string | undefined)[]).includes(name)

const none = (rest: readonly string[], figure: Figure): Read<Figure> =>
  rest.length === 0 ? { value: figure } : wrong(`${shown(rest.join('.'))} after it`, 'nothing more')

const measureFigure = (measure: Measure, [statistic, ...rest]: readonly string[]): Read<Figure> => {
  if (statistic === 'count') return none(rest, { kind: 'samples', measure })
  if (includes(STATISTICS, statistic)) return none(rest, { kind: 'latency', measure, statistic })
  return wrong(
    statistic === undefined ? `${measure} alone` : `the statistic ${shown(statistic)}`,
    `${measure}. and ${oneOf(statistic ?? '', [...STATISTICS, 'count'])}`,
  )
}

const doorFigure = (
  rest: readonly string[],
  figure: (door: Door | undefined, more: readonly string[]) => Read<Figure>,
  others: readonly string[] = [],
): Read<Figure> => {
  const [door, ...more] = rest
  if (door === undefined || includes(DOORS, door)) return figure(door, more)
  return wrong(`the door ${shown(door)}`, oneOf(door, [...DOORS, ...others]))
}

/** A word that nothing is ever counted under would always be 0. */
const outcomeFigure = (
  kind: Outcome,
  rest: readonly string[],
  others: readonly string[] = [],
): Read<Figure> =>
  doorFigure(
    rest,
    (door, [reason, ...more]) => {
      if (door === undefined || reason === undefined || isCounted(kind, door, reason))
        return none(more, { kind, door, reason })
      const instead = insteadOf(kind, door, reason)
      return wrong(
        `the reason ${shown(reason)}, which ${kind}.${door} never counts`,
        instead ?? COUNTED_WORDS[kind][door],
      )
    },
    others,
  )

const figureOf = (text: string): Read<Figure> => {
  const [head = '', ...rest] = text.split('.')
  if (head === 'errors') return outcomeFigure('errors', rest)
  if (head === 'refused')
    return rest[0] === 'unexpected'
      ? none(rest.slice(1), { kind: 'unexpected' })
      : outcomeFigure('refused', rest, ['unexpected'])
  if (head === 'rate') {
    const [of, ...more] = rest
    if (includes(RATE_NAMES, of)) return none(more, { kind: 'rate', of })
    return wrong(
      of === undefined ? 'rate alone' : `the rate ${shown(of)}`,
      `rate. and ${oneOf(of ?? '', RATE_NAMES)}`,
    )
  }
  // `publish` is measured and counted as `published`: no name is both
  if (includes(MEASURE_NAMES, head)) return measureFigure(head, rest)
  if (includes(COUNTERS, head)) return none(rest, { kind: 'count', counter: head })
  return wrong(head === '' ? 'no figure' : `the figure ${shown(head)}`, oneOf(head, HEADS))
}

/** What one of each unit is, in the unit that is reported. */
const UNITS: Readonly<Partial<Record<Figure['kind'], Readonly<Record<string, number>>>>> = {
  latency: { us: 0.001, ms: 1, s: 1_000 },
  rate: { '': 1, '/s': 1 },
}
const PLAIN: Readonly<Record<string, number>> = { '': 1 }

const valueOf = (kind: Figure['kind'], text: string): Read<number> => {
  const [, number = '', unit = ''] = /^(\d{1,15}(?:\.\d{1,6})?)?\s*(.*)$/s.exec(text) ?? []
  if (number === '') return wrong(text === '' ? 'no value' : `the value ${shown(text)}`, 'a number')
  const units = UNITS[kind] ?? PLAIN
  if (Object.hasOwn(units, unit)) return { value: Number(number) * (units[unit] as number) }
  const named = Object.keys(units).filter((name) => name !== '')
  return wrong(
    unit === '' ? 'no unit' : `the unit ${shown(unit)}`,
    named.length === 0 ? 'none: it is a number of times' : `one of: ${named.join(', ')}`,
  )
}

const read = (given: string): Read<Assertion> => {
  const text = given.trim()
  const [, name = '', after = ''] = /^([\w.]*)\s*(.*)$/s.exec(text) ?? []
  const figure = figureOf(name)
  if ('problem' in figure) return figure
  const operator = OPERATORS.find((each) => after.startsWith(each))
  if (operator === undefined)
    return wrong(
      after === '' ? 'no operator' : `the operator ${shown(/^[^\w\s.]*/.exec(after)?.[0] || after)}`,
      `one of: ${OPERATORS.join(' ')}`,
    )
  const value = valueOf(figure.value.kind, after.slice(operator.length).trim())
  if ('problem' in value) return value
  return { value: { text, figure: figure.value, operator, value: value.value } }
}

/** @returns the part that is wrong, or undefined */
export const assertionProblem = (text: string): Problem | undefined => {
  const it = read(text)
  return 'problem' in it ? it.problem : undefined
}

/** @throws FleetError `config_invalid`: names the part that is wrong */
export const parseAssertion = (text: string): Assertion => {
  const it = read(text)
  if ('value' in it) return it.value
  const { got, expected } = it.problem
  throw new FleetError('config_invalid', `assertion ${shown(text)}: got ${got}, expected ${expected}`)
}
