/** How issuance says no inside its transaction: a throw that undoes the verb and nothing else. Not when: that is the files that use it. */

import type { DeviceState } from '#fleet/device.ts'
import { type ErrorCode, FleetError } from '#fleet/errors.ts'

/** @param retryAfter seconds, where waiting helps */
export const refuse = (code: ErrorCode, detail: string, retryAfter?: number): never => {
  throw new FleetError(code, detail, retryAfter === undefined ? {} : { retryAfter })
}

const STATE_REFUSALS = {
  registered: undefined,
  active: undefined,
  suspended: ['device_suspended', 'the device is suspended'],
  retired: ['device_retired', 'the device is retired'],
  revoked: ['device_revoked', 'the device is revoked; it needs a new token bound to its id'],
} as const satisfies Readonly<Record<DeviceState, readonly [ErrorCode, string] | undefined>>

export const refuseState = (state: DeviceState): void => {
  const refusal = STATE_REFUSALS[state]
  if (refusal !== undefined) refuse(refusal[0], refusal[1])
}
