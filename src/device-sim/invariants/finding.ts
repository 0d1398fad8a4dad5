/** What was found of a promise: collected, and put together. Not the promises: invariant.ts; not the judging: a file each. */

import { INVARIANTS, MOST_EVIDENCE, type Finding, type InvariantName } from './invariant.ts'

/** Of the parts of one run: one for each promise, in the order of INVARIANTS, those too that nobody has looked at. */
export const mergeFindings = (lists: readonly (readonly Finding[])[]): Finding[] => {
  const all = lists.flat()
  return (Object.keys(INVARIANTS) as InvariantName[]).map((name) => {
    const of = all.filter((each) => each.name === name)
    return {
      name,
      checked: of.reduce((sum, { checked }) => sum + checked, 0),
      broken: of.reduce((sum, { broken }) => sum + broken, 0),
      evidence: of.flatMap(({ evidence }) => evidence).slice(0, MOST_EVIDENCE),
    }
  })
}

/** How often a promise was broken, and the first few times in words: these are made only when they are kept. */
export type Breaches = {
  add(words: () => string, times?: number): void
  readonly broken: number
  readonly evidence: readonly string[]
  /** to go on with, without a trace in this one */
  copy(): Breaches
}

export const createBreaches = (start?: Pick<Breaches, 'broken' | 'evidence'>): Breaches => {
  let broken = start?.broken ?? 0
  const evidence = [...(start?.evidence ?? [])]
  const breaches: Breaches = {
    add(words, times = 1) {
      broken += times
      if (evidence.length < MOST_EVIDENCE) evidence.push(words())
    },
    get broken() {
      return broken
    },
    evidence,
    copy: () => createBreaches(breaches),
  }
  return breaches
}

/** What somebody else has said, in one line and not too long. */
export const quoted = (said: string): string => JSON.stringify(said.slice(0, 120))
