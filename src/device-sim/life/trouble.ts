/** What went wrong with one device, as an event: a refusal is a verdict with a reason, and everything else is trouble. */

import { FleetError } from '#fleet/errors.ts'
import { now } from '../clock.ts'
import type { Door, FleetEvent, FleetEventOf } from '../events.ts'
import { TROUBLE } from '../words.ts'

/** Worth trying again: nobody has said no. */
export const isTransient = (error: unknown): boolean =>
  !(error instanceof FleetError) ||
  ['target_unreachable', 'registry_unavailable', 'rate_limited', 'internal'].includes(error.code)

const detailOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Whatever it was, it is no verdict. @param at ms since the epoch, when it began */
export const errorOf = (device: string, door: Door, error: unknown, at: number): FleetEventOf<'error'> => ({
  kind: 'error',
  device,
  at,
  door,
  detail: detailOf(error),
})

/** @param at ms since the epoch, when it began */
export const troubleOf = (device: string, door: Door, error: unknown, at: number): FleetEvent => {
  if (!(error instanceof FleetError) || TROUBLE.includes(error.code)) return errorOf(device, door, error, at)
  // its own check of what came
  if (error.code === 'expectation_broken') return { kind: 'unverified', device, at, detail: detailOf(error) }
  return { kind: 'refused', device, at, door, reason: error.code, millis: now() - at }
}
