/** The measures of a report as people look for them: in what order, in what words, and of several seconds together. */

import { MEASURES } from '#device-sim/measure/measures.ts'
import type { Point } from '#wire/simulation-report.ts'

/** One that this version does not know has its name. */
export const wordsOf = (measure: string): string =>
  Object.entries<string>(MEASURES).find(([name]) => name === measure)?.[1] ?? measure

/** What a device wants of a fleet first, then what that is made of. */
const ORDER = ['https', 'publish', 'delivery', 'connect', 'handshake', 'tcp', 'enroll', 'renew', 'refusal']

/** Their names, those that are not known last. */
export const inOrder = (measures: Readonly<Record<string, unknown>>): string[] => {
  const place = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length)
  return Object.keys(measures).toSorted((a, b) => place(a) - place(b))
}

/**
 * Of several seconds: the median of their medians, weighted by how often, and the worst of the others. An estimate: the whole run has a
 * histogram, its seconds have not.
 * @returns undefined: never
 */
export const latencyOf = (
  points: readonly Point[],
  measure: string,
): Point['measures'][string] | undefined => {
  const all = points
    .flatMap((point) => point.measures[measure] ?? [])
    .filter(({ count }) => count > 0)
    .toSorted((a, b) => a.p50 - b.p50)
  const count = all.reduce((sum, each) => sum + each.count, 0)
  let left = count / 2
  const middle = all.find((each) => (left -= each.count) <= 0) ?? all.at(-1)
  return middle === undefined
    ? undefined
    : {
        count,
        p50: middle.p50,
        p99: Math.max(...all.map((each) => each.p99)),
        max: Math.max(...all.map((each) => each.max)),
      }
}
