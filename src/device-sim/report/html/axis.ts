/** From values to pixels, with the marks that a reader needs. Not what is drawn along them: chart.ts. */

import { formatClock } from '../format.ts'

type Tick = { readonly at: number; readonly text: string }
export type Axis = {
  /** pixels; what is outside is at the edge */
  at(value: number): number
  readonly ticks: readonly Tick[]
  readonly log: boolean
}

type Span = { readonly start: number; readonly end: number }

/** The least of 1, 2, 5, 10, 20, … that is not below. */
export const nice = (atLeast: number): number => {
  const decade = 10 ** Math.floor(Math.log10(atLeast))
  const step = [1, 2, 5, 10].find((each) => each * decade >= atLeast * (1 - 1e-9)) ?? 10
  return step * decade
}

const within = (share: number, { start, end }: Span): number =>
  start + Math.min(1, Math.max(0, share)) * (end - start)

/** From 0 to a round number above `most`; of nothing, to 1. */
export const linearAxis = (most: number, span: Span, text: (value: number) => string, marks = 4): Axis => {
  const step = nice((most > 0 ? most : 1) / marks)
  const steps = Math.max(1, Math.ceil((most > 0 ? most : 1) / step - 1e-9))
  const at = (value: number): number => within(value / (step * steps), span)
  const values = Array.from({ length: steps + 1 }, (_, i) => Number((i * step).toPrecision(12)))
  return { at, log: false, ticks: values.map((value) => ({ at: at(value), text: text(value) })) }
}

const INTERVALS = [
  { decades: 1.3, steps: [1, 2, 5] },
  { decades: 3.2, steps: [1, 3] },
  { decades: Infinity, steps: [1] },
] as const

/**
 * Both above 0. Marked at 1, and where that is too few at 3, or at 2 and 5, of each decade.
 * @param whole from a mark to a mark, rather than from `least` to `most`
 */
export const logAxis = (
  least: number,
  most: number,
  span: Span,
  text: (value: number) => string,
  whole = false,
): Axis => {
  const decades = Math.log10(most / least)
  const { steps } = INTERVALS.find((each) => decades <= each.decades) ?? INTERVALS[2]
  const first = Math.floor(Math.log10(least)) - 1
  const marks = Array.from({ length: Math.ceil(decades) + 4 }, (_, i) => first + i).flatMap((decade) =>
    steps.map((step) => Number((step * 10 ** decade).toPrecision(3))),
  )
  const from = whole ? (marks.findLast((mark) => mark <= least) ?? least) : least
  const to = Math.max(whole ? (marks.find((mark) => mark >= most) ?? most) : most, from * 2)
  const at = (value: number): number =>
    within(value <= 0 ? 0 : Math.log(value / from) / Math.log(to / from), span)
  const shown = marks.filter((mark) => mark >= from * 0.999 && mark <= to * 1.001)
  return { at, log: true, ticks: shown.map((mark) => ({ at: at(mark), text: text(mark) })) }
}

/** Values that are orders apart need a logarithmic axis; those that are not are read wrongly on one. Ignores what is not above 0. */
export const needsLog = (values: readonly number[]): boolean => {
  const above = values.filter((value) => value > 0)
  return above.length > 1 && Math.max(...above) / Math.min(...above) > 25
}

const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400]

/** @param from ms after the start, as `to`, which is later */
export const timeAxis = (from: number, to: number, span: Span): Axis => {
  const least = (to - from) / 1_000 / 7
  const step = (SECONDS.find((each) => each >= least) ?? Math.ceil(least / 86_400) * 86_400) * 1_000
  const at = (value: number): number => within((value - from) / (to - from), span)
  const first = Math.ceil(from / step)
  const values = Array.from({ length: Math.floor(to / step) - first + 1 }, (_, i) => (first + i) * step)
  return { at, log: false, ticks: values.map((value) => ({ at: at(value), text: formatClock(value) })) }
}
