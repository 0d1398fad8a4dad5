/** What became of a fleet, counted from what it says of itself: the report of runFleet. Not the measures of a simulation: those are measure/. */

import type { Door, FleetEvent, FleetEventOf } from '../events.ts'

export type FleetReport = {
  readonly enrolled: number
  /** with an identity from an earlier run, or one that was given */
  readonly reused: number
  readonly renewed: number
  readonly admitted: { readonly https: number; readonly mqtt: number }
  /** reason → how often, by door */
  readonly refused: Readonly<Record<Door, Readonly<Record<string, number>>>>
  readonly published: number
  readonly delivered: number
  readonly cut: number
  readonly errors: number
}

export type FleetTally = { add(event: FleetEvent): void; report(): FleetReport }

export const createTally = (): FleetTally => {
  const count = { enrolled: 0, reused: 0, renewed: 0, published: 0, delivered: 0, cut: 0, errors: 0 }
  const admitted = { https: 0, mqtt: 0 }
  const refused: Record<Door, Record<string, number>> = { enroll: {}, https: {}, mqtt: {} }

  type Counting = { [K in FleetEvent['kind']]?: (event: FleetEventOf<K>) => void }
  const counting: Counting = {
    enrolled: ({ via }) => void (via === 'state' || via === 'given' ? count.reused++ : count.enrolled++),
    renewed: () => void count.renewed++,
    admitted: ({ door }) => void admitted[door]++,
    refused({ door, reason }) {
      refused[door][reason] = (refused[door][reason] ?? 0) + 1
    },
    published: () => void count.published++,
    burst: (event) => void (count.published += event.count),
    delivered: () => void count.delivered++,
    cut: () => void count.cut++,
    error: () => void count.errors++,
    unverified: () => void count.errors++,
  }

  return {
    add(event) {
      const add = counting[event.kind] as ((event: FleetEvent) => void) | undefined
      add?.(event)
    },
    report: () => structuredClone({ ...count, admitted, refused }),
  }
}
