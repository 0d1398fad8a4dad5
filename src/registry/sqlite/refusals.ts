/** How issuance says no inside its transaction: a throw that undoes the verb and nothing else. Not when: that is issuance.ts. */

import type { DeviceState } from '#fleet/device.ts'
import { type ErrorCode, FleetError } from '#fleet/errors.ts'

/** Neither limit is one that a moment's wait lifts: certificates must expire, or an operator must look. Seconds. */
const MUCH_LATER = 3_600

export const refuse = (code: ErrorCode, detail: string): never => {
  throw new FleetError(code, detail)
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

export const refuseMore = (detail: string): never => {
  throw new FleetError('rate_limited', detail, { retryAfter: MUCH_LATER })
}
