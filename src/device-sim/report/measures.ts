/** The measures of a report as people look for them: in what order, in what words, and of several seconds together. */

import { MEASURES } from '#device-sim/measure/measures.ts'
import type { Point } from '#wire/simulation-report.ts'
import { formatMillis } from './format.ts'

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
 * Of several seconds: the range of their medians, and the worst of the others. Never an average: the whole run has a histogram, its seconds have not.
 * @returns undefined: never
 */
export const latencyOf = (
  points: readonly Point[],
  measure: string,
): Point['measures'][string] | undefined => {
  const all = points.flatMap((point) => point.measures[measure] ?? []).filter(({ count }) => count > 0)
  return all.length === 0
    ? undefined
    : {
        count: all.reduce((sum, { count }) => sum + count, 0),
        p50: Math.max(...all.map(({ p50 }) => p50)),
        p50_low: Math.min(...all.map(({ p50_low }) => p50_low)),
        p99: Math.max(...all.map(({ p99 }) => p99)),
        max: Math.max(...all.map(({ max }) => max)),
      }
}

/** Of one second or of several. */
export const medianText = ({ p50, p50_low }: Point['measures'][string]): string => {
  const [low, high] = [formatMillis(p50_low), formatMillis(p50)]
  return low === high ? high : `${low} to ${high}`
}
