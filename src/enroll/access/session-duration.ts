/** `session_duration` of applications and policies. Not which of them counts: #policy. */

import { SECOND } from '#fleet/clock.ts'
import { parseDuration } from '#fleet/duration.ts'
import { MAX_SESSION } from '#fleet/session.ts'
import { bad, durationOf } from '../reading.ts'

/**
 * 0 is No Duration. Below a second there is nothing: tokens tell time in seconds (RFC 7519 §2, NumericDate).
 * @returns the field of the noun, or none: what is further out counts
 * @throws FleetError `bad_request`
 */
export const readSessionDuration = (text: string | undefined): { readonly sessionDuration?: number } => {
  if (text === undefined) return {}
  if (parseDuration(text) === 0) return { sessionDuration: 0 }
  const where = 'session_duration'
  const sessionDuration = durationOf(where, text, { min: 0, max: MAX_SESSION })
  if (sessionDuration % SECOND !== 0) throw bad(where, 'must be whole seconds; 0s is No Duration')
  return { sessionDuration }
}
