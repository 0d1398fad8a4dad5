/** How the memory of a server grows with its connections: a curve over a few counts, in one go. Not who makes the connections. */

import { residentOf } from './resident.ts'

/** Those of the scale curves. */
export const IDLE_COUNTS: readonly number[] = [1_000, 5_000, 10_000]
/** Of fewer, what a program has once is a good part of each: nothing is asked of that. */
const ASKED_FROM = 5_000
/** Made before anything is measured: what a server sets up once is no part of a connection. */
export const WARM = 200

/** @param hold makes `count` more, and keeps all. @returns bytes each, for each of `counts` (ascending) */
export const growthCurve = async (
  pid: number,
  counts: readonly number[],
  hold: (from: number, count: number) => Promise<void>,
): Promise<readonly number[]> => {
  await hold(0, WARM)
  const before = residentOf(pid)
  const grown: number[] = []
  let held = 0
  for (const count of counts) {
    await hold(WARM + held, count - held)
    held = count
    grown.push((residentOf(pid) - before) / count)
  }
  return grown
}

type Curve = {
  /** @param grown as {@link growthCurve} gives it, of one round */
  add(name: string, grown: readonly number[]): void
  /** KiB at the largest count, in words */
  last(): string
  results(): readonly {
    readonly count: number
    readonly variants: Readonly<Record<string, readonly number[]>>
  }[]
}

export const boundsAt = (
  count: number,
  bounds: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> => (count < ASKED_FROM ? {} : bounds)

export const curveOf = (counts: readonly number[]): Curve => {
  const rounds = new Map<string, (readonly number[])[]>()
  return {
    add(name, grown) {
      const all = rounds.get(name) ?? []
      rounds.set(name, [...all, grown])
    },
    last: () =>
      [...rounds]
        .map(([name, all]) => `${name} ${((all.at(-1)?.at(-1) ?? 0) / 1_024).toFixed(1)} KiB`)
        .join(', '),
    results: () =>
      counts.map((count, at) => ({
        count,
        variants: Object.fromEntries(
          [...rounds].map(([name, all]) => [name, all.map((grown) => grown[at] as number)]),
        ),
      })),
  }
}
