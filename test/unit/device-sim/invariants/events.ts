/** Events of one device as tests write them: `at` in ms after some moment. */

import type { FleetEvent } from '#device-sim/events.ts'
import type { Finding } from '#device-sim/invariants/invariant.ts'
import type { Judge } from '#device-sim/invariants/judge.ts'

export const START = 1_800_000_000_000

type Bare<E> = E extends FleetEvent ? Omit<E, 'device' | 'at'> : never
export type Step = readonly [at: number, event: Bare<FleetEvent>, device?: string]

export const eventOf = ([at, event, device = 'd']: Step): FleetEvent =>
  ({ ...event, device, at: START + at }) as FleetEvent

/** What `judge` finds after these, in this order. */
export const found = (judge: Judge, steps: readonly Step[], at: number): Finding => {
  for (const step of steps) {
    const event = eventOf(step)
    const hear = judge.on[event.kind] as ((event: FleetEvent) => void) | undefined
    hear?.(event)
  }
  const finding = judge.finding(START + at)
  // asking changes nothing
  if (JSON.stringify(judge.finding(START + at)) !== JSON.stringify(finding))
    throw new Error('asked twice, told two things')
  return finding
}
