/** Rounds in which several are measured in turn, with the floor of the same rounds. Not what is made of their figures: verdict.ts. */

import type { FloorMeter } from './floor.ts'
import { inOrderOf, type Variants } from './suite.ts'

/** Each round in another order. @param o.measure in µs; `round` from 0. @param o.digits behind the point, where it is shown; default 0 */
export const inTurns = async <T extends { readonly name: string }>(
  all: readonly T[],
  o: {
    readonly rounds: number
    readonly measure: (one: T, round: number) => Promise<number>
    readonly floor?: FloorMeter
    readonly digits?: number
    readonly progress: (text: string) => void
  },
): Promise<{ readonly variants: Variants; readonly floors: readonly number[] }> => {
  const { rounds, measure, floor, digits = 0, progress } = o
  const variants: Record<string, number[]> = Object.fromEntries(all.map(({ name }) => [name, []]))
  const floors: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    for (const one of inOrderOf(round, all)) variants[one.name]?.push(await measure(one, round))
    if (floor !== undefined) floors.push(await floor.measure())
    const said = all.map(({ name }) => `${name} ${variants[name]?.at(-1)?.toFixed(digits)}`)
    progress(`round ${round + 1} of ${rounds}: ${said.join(', ')} µs`)
  }
  return { variants, floors }
}
