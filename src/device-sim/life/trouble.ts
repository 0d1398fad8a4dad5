/** What went wrong with one device, as an event: a refusal is a verdict with a reason, and everything else is trouble. */

import { DENIALS } from '#fleet/denial.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { now } from '../clock.ts'
import type { Door, FleetEvent } from '../events.ts'

export const isDenial = (reason: string | undefined): boolean =>
  (DENIALS as readonly (string | undefined)[]).includes(reason)

/** Nobody has judged anything. */
const TROUBLE: readonly ErrorCode[] = ['target_unreachable', 'internal']

/** @param at ms since the epoch, when it began */
export const troubleOf = (device: string, door: Door, error: unknown, at: number): FleetEvent => {
  const detail = error instanceof Error ? error.message : String(error)
  if (!(error instanceof FleetError) || TROUBLE.includes(error.code))
    return { kind: 'error', device, at, door, detail }
  // its own check of what came
  if (error.code === 'expectation_broken') return { kind: 'unverified', device, at, detail }
  return { kind: 'refused', device, at, door, reason: error.code, millis: now() - at }
}
