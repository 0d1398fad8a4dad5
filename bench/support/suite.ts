/** What a benchmark suite is given and gives back. Figures are held against a base measured in the same rounds: trust the ratios. */

export type SuiteOptions = {
  readonly rounds?: number
  /** per variant and round */
  readonly requests?: number
  readonly progress: (text: string) => void
}

/** What every suite measures by default. Of fewer nothing is said about a steady state, and a table says that there were fewer. */
export const ROUNDS = 12

/** Connections until V8 has compiled nearly all that it will compile of a door: of the HTTPS door `--trace-opt` shows the last burst at 15,000. */
export const COMPILED = 20_000

/** One number per round, all variants in the same rounds. */
export type Variants = Readonly<Record<string, readonly number[]>>

export type SuiteResult = {
  /** of what each number is, as `CPU µs per request` */
  readonly unit: string
  /** the variant that the ratios are to; none: each figure stands for itself */
  readonly base?: string
  readonly variants: Variants
  /** the rounds' median is the figure; or the best of them, of what runs in this process and to which other work can only add */
  readonly figure?: 'best'
  /** the most that the median ratio of a variant to the base may be */
  readonly bounds?: Readonly<Record<string, number>>
  /** the most that a variant's figure may be, in `unit` */
  readonly limits?: Readonly<Record<string, number>>
  /** what cannot be had for less, measured in each round on the same core: `what` says of which steps. Of all variants, or of each */
  readonly floor?: { readonly what: string; readonly values: readonly number[] | Variants }
  /** bytes, of the program's whole process tree after the last round */
  readonly memory?: Readonly<Record<string, number>>
  /** those that the suite puts up with, by variant. A suite without the field ends at the first error */
  readonly errors?: { readonly what: string; readonly counts: Readonly<Record<string, number>> }
  /** peers that are not installed → how to get them */
  readonly missing?: Readonly<Record<string, string>>
  readonly facts: Readonly<Record<string, string | number>>
}

/** Several results: figures that are not to be held against each other. */
export type Suite = (options: SuiteOptions) => Promise<SuiteResult | readonly SuiteResult[]>

/** The peer that the bounds are to, if it was there; else nothing is held against anything. */
export const against = (
  variants: Variants,
  peer: string,
  bounds: Readonly<Record<string, number>>,
): Pick<SuiteResult, 'base' | 'bounds'> => {
  if (variants[peer] === undefined) return {}
  return Object.keys(bounds).length > 0 ? { base: peer, bounds } : { base: peer }
}

/** Who goes first changes with each round, so that a drift within one favours nobody. */
export const inOrderOf = <T>(round: number, all: readonly T[]): readonly T[] => {
  const at = round % all.length
  return [...all.slice(at), ...all.slice(0, at)]
}

export const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The value below which that share of them lies; NaN of none. */
export const quantile = (numbers: readonly number[], share: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))] ??
  Number.NaN

export const p99 = (numbers: readonly number[]): number => quantile(numbers, 0.99)
