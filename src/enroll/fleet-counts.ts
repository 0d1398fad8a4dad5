/**
 * Counts of a whole fleet for who looks at authorities: one count for everybody who asks within a few seconds, for at a million devices
 * each is a quarter of a second of CPU. Not for verdicts: those count anew (rotate.ts).
 */

import { SECOND, type Clock } from '#fleet/clock.ts'
import type { TrustKind } from '#registry/authorities.ts'
import type { Registry } from '#registry/registry.ts'

const KEPT_FOR = 5 * SECOND
/** Rows that are counted in a few milliseconds: those are counted each time. */
const FEW = 10_000

type Share = { readonly fetched: number; readonly active: number }

export interface FleetCounts {
  live(): Promise<ReadonlyMap<string, number>>
  fetched(kind: TrustKind, version: number): Promise<Share>
}

/** @param rowsOf what was counted. @param monotonic ms */
const shared = <T>(
  count: () => Promise<T>,
  rowsOf: (counted: T) => number,
  monotonic: () => number,
): (() => Promise<T>) => {
  let last: { readonly made: Promise<T>; readonly until: number } | undefined
  return () => {
    if (last !== undefined && monotonic() < last.until) return last.made
    const made = count()
    last = { made, until: Infinity }
    made.then(
      (counted) => {
        last = rowsOf(counted) > FEW ? { made, until: monotonic() + KEPT_FOR } : undefined
      },
      () => {
        last = undefined
      },
    )
    return made
  }
}

/** @param o.monotonic ms of the process; for tests */
export const createFleetCounts = (o: {
  readonly registry: Pick<Registry, 'liveCertificates' | 'trustShare'>
  readonly clock: Clock
  readonly monotonic?: () => number
}): FleetCounts => {
  const { registry, clock } = o
  const monotonic = o.monotonic ?? (() => performance.now())
  /** one for each version that was ever the first with something: as many as issuers and anchors */
  const shares = new Map<string, () => Promise<Share>>()
  const live = shared(
    () => registry.liveCertificates(clock()),
    (counts) => [...counts.values()].reduce((sum, count) => sum + count, 0),
    monotonic,
  )
  return {
    live,
    fetched: (kind, version) => {
      const key = `${kind} ${version}`
      const known = shares.get(key)
      if (known !== undefined) return known()
      const share = shared(
        () => registry.trustShare(kind, version),
        ({ active }) => active,
        monotonic,
      )
      shares.set(key, share)
      return share()
    },
  }
}
