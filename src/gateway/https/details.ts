/** A denial as the door answers it: the error with what helps against it, and whether the client's token goes with it. */

import type { Denial } from '#fleet/denial.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Canonical } from '#policy/target.ts'
import { ADVICE } from './advice.ts'

/** @param target what was wrong with it is said of a bad one */
export const denialError = (reason: Denial, target?: Canonical): FleetError =>
  new FleetError(
    reason,
    reason === 'bad_target' && target?.ok === false ? target.problem : ADVICE[reason].program,
  )

const FORGOTTEN: ReadonlySet<Denial> = new Set(['token_invalid', 'token_binding_mismatch'])

/** Is a session token that came along never good here again? Then the client need not send it. */
export const isForgotten = (reason: Denial): boolean => FORGOTTEN.has(reason)
