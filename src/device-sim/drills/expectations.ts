/** What must be true, by name, and the evidence where it was not. Not what to do about it: that is who asked. */

import { said } from '../said.ts'

export type Expectations = {
  /** A name holds when every check of it held. @returns `held` */
  check(name: string, held: boolean, evidence: string): boolean
  report(): {
    readonly passed: number
    readonly failed: readonly string[]
    /** the first evidence of each failed name */
    readonly evidence: Readonly<Record<string, string>>
  }
}

/** UTF-16 units of one evidence: a target's own words are in it */
const LONGEST = 1_024

export const createExpectations = (
  onCheck?: (name: string, held: boolean, evidence: string) => void,
): Expectations => {
  const names = new Set<string>()
  const broken = new Map<string, string>()
  return {
    check(name, held, words) {
      const evidence = said(words, LONGEST)
      names.add(name)
      if (!held && !broken.has(name)) broken.set(name, evidence)
      onCheck?.(name, held, evidence)
      return held
    },
    report: () => ({
      passed: names.size - broken.size,
      failed: [...broken.keys()],
      evidence: Object.fromEntries(broken),
    }),
  }
}
