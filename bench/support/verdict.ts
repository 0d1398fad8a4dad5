/** What the rounds of a suite amount to: a figure, its ratio, whether they had settled, and whether a bound is met. Not how it is shown: table.ts. */

import { median, quantile, ROUNDS, type SuiteResult, type Variants } from './suite.ts'

/** How far the later half of the rounds may be from the earlier one: medians, where their middle halves lie apart too. */
const DRIFT = 0.15
/** The width of the middle half of the rounds, to their median; of the best quarter, to the best. */
const SPREAD = 0.25
/** Fewer rounds show neither; that they show none in as many says little before there are {@link ROUNDS}. */
const ENOUGH = 6

export type Verdict = {
  /** in the unit of the result */
  readonly figure: number
  /** to the base: per round and then the median, so that what drifts between rounds falls out; of the best rounds where they count */
  readonly ratio: number | undefined
  /** of the ratios of the rounds */
  readonly range: readonly [number, number] | undefined
  /** undefined: it has settled, or there were too few rounds to say; else why no figure is to be trusted */
  readonly unsteady: string | undefined
  /** where the ratio has settled, why its own figure has not; undefined: it has */
  readonly drifts: string | undefined
  /** how many rounds there were, where they are too few to say whether it has settled */
  readonly few: number | undefined
  /** of the ratio */
  readonly bound: number | undefined
  /** of the figure */
  readonly limit: number | undefined
  /** undefined: nothing is asked of it, or nothing can be said: it has not settled, and its rounds lie on both sides */
  readonly met: boolean | undefined
  /** times the physical floor of the same rounds; undefined: there is none, or this has not settled */
  readonly floors: number | undefined
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`

/** @param rounds ratios; of what has no base, its values. @returns why they are no steady state; undefined: they are, or are too few to say */
export const unsteadiness = (rounds: readonly number[]): string | undefined => {
  if (rounds.length < ENOUGH) return undefined
  const middle = rounds.length >> 1
  const [early, late] = [rounds.slice(0, middle), rounds.slice(middle)]
  const drift = median(late) / median(early) - 1
  const [low, high] = drift > 0 ? [early, late] : [late, early]
  const apart = quantile(high, 0.25) > quantile(low, 0.75)
  if (Math.abs(drift) > DRIFT && apart) return `no steady state: it drifts by ${percent(drift)}`
  const spread = (quantile(rounds, 0.75) - quantile(rounds, 0.25)) / median(rounds)
  return spread > SPREAD ? `no steady state: half of the rounds lie ${percent(spread)} apart` : undefined
}

/** @param rounds values, the least of which counts. @returns as {@link unsteadiness} */
export const isolation = (rounds: readonly number[]): string | undefined => {
  if (rounds.length < ENOUGH) return undefined
  const above = quantile(rounds, 0.25) / Math.min(...rounds) - 1
  return above > SPREAD
    ? `no steady state: a quarter of the rounds begins ${percent(above)} above the best`
    : undefined
}

/** @param judged what each round would have said. @param settled what all of them say; undefined: nothing */
const met = (most: number, judged: readonly number[], settled: number | undefined): boolean | undefined => {
  if (judged.length === 0) return undefined
  if (settled !== undefined) return settled <= most
  // whatever the figure is, it is on the side that all rounds are on
  if (judged.every((each) => each <= most)) return true
  return judged.every((each) => each > most) ? false : undefined
}

const isList = (floor: Variants | readonly number[]): floor is readonly number[] => Array.isArray(floor)

/** All must hold of what is asked. */
const allOf = (asked: readonly (boolean | undefined)[]): boolean | undefined =>
  asked.includes(false) ? false : asked.includes(undefined) ? undefined : asked.length > 0 ? true : undefined

export const verdictOf = (result: SuiteResult, variant: string): Verdict => {
  const values = result.variants[variant] ?? []
  const isBest = result.figure === 'best'
  const figureOf = (all: readonly number[]): number => (isBest ? Math.min(...all) : median(all))
  const base = result.base === undefined ? undefined : result.variants[result.base]
  const ratios = base === undefined ? [] : values.map((value, at) => value / (base[at] as number))
  const isRelative = base !== undefined && variant !== result.base
  const own = isBest ? isolation(values) : unsteadiness(values)
  const unsteady = isRelative && !isBest ? unsteadiness(ratios) : own
  const ratio = base === undefined ? undefined : isBest ? figureOf(values) / figureOf(base) : median(ratios)
  const floor = result.floor?.values
  const floors = (floor === undefined || isList(floor) ? floor : floor[variant])?.map(
    (least, at) => (values[at] as number) / least,
  )
  const [bound, limit] = [result.bounds?.[variant], result.limits?.[variant]]
  return {
    figure: figureOf(values),
    ratio,
    range: isRelative && !isBest ? [Math.min(...ratios), Math.max(...ratios)] : undefined,
    unsteady,
    drifts: unsteady === undefined ? own : undefined,
    few: unsteady === undefined && values.length > 0 && values.length < ROUNDS ? values.length : undefined,
    bound,
    limit,
    met: allOf([
      ...(bound === undefined ? [] : [met(bound, ratios, unsteady === undefined ? ratio : undefined)]),
      ...(limit === undefined ? [] : [met(limit, values, own === undefined ? figureOf(values) : undefined)]),
    ]),
    floors: floors === undefined || unsteadiness(floors) !== undefined ? undefined : median(floors),
  }
}
