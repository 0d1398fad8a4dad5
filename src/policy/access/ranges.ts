/** Sets that are made once of many values and asked often: ranges and beginnings, found by bisection. What the values mean is the caller's. */

/** Both ends included. */
export type Span<T extends string | number> = { readonly low: T; readonly high: T }

/** The index of the last that is not after `value`, or -1. @param sorted ascending */
const lastUpTo = <T extends string | number>(sorted: readonly T[], value: T): number => {
  let [from, to] = [0, sorted.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if ((sorted[middle] as T) <= value) from = middle + 1
    else to = middle
  }
  return from - 1
}

const ascending = <T extends string | number>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0)

export type Ranges<T extends string | number> = {
  has(value: T): boolean
  /** in order, none touching the next */
  readonly spans: readonly Span<T>[]
}

/** Spans that overlap become one. */
export const createRanges = <T extends string | number>(spans: readonly Span<T>[]): Ranges<T> => {
  const merged: Span<T>[] = []
  for (const span of spans.toSorted((a, b) => ascending(a.low, b.low))) {
    const before = merged.at(-1)
    if (before === undefined || before.high < span.low) merged.push(span)
    else if (before.high < span.high) merged[merged.length - 1] = { low: before.low, high: span.high }
  }
  const lows = merged.map(({ low }) => low)
  const highs = merged.map(({ high }) => high)
  return {
    spans: merged,
    has: (value) => {
      const at = lastUpTo(lows, value)
      return at !== -1 && value <= (highs[at] as T)
    },
  }
}

/** Does a text begin with one of these? */
export const createBeginnings = (beginnings: readonly string[]): ((text: string) => boolean) => {
  const kept: string[] = []
  for (const beginning of beginnings.toSorted(ascending)) {
    const before = kept.at(-1)
    if (before === undefined || !beginning.startsWith(before)) kept.push(beginning)
  }
  // none of them begins another, so whatever lies between a beginning and a text that has it has it too: only the last can be it
  return (text) => {
    const at = lastUpTo(kept, text)
    return at !== -1 && text.startsWith(kept[at] as string)
  }
}
