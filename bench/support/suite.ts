/** What a benchmark suite is given and gives back. Figures are held against a base measured in the same rounds: trust the ratios. */

export type SuiteOptions = {
  readonly rounds?: number
  /** per variant and round */
  readonly requests?: number
  readonly progress: (text: string) => void
}

export type SuiteResult = {
  /** of what each number is, as `CPU µs per request` */
  readonly unit: string
  /** the variant that the ratios are to */
  readonly base: string
  /** one number per round, all variants in the same rounds */
  readonly variants: Readonly<Record<string, readonly number[]>>
  readonly facts: Readonly<Record<string, string | number>>
}

/** Several results: figures that are not to be held against each other. */
export type Suite = (options: SuiteOptions) => Promise<SuiteResult | readonly SuiteResult[]>

export const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** The value below which 99 of 100 lie; NaN of none. */
export const p99 = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length * 0.99)] ?? Number.NaN
