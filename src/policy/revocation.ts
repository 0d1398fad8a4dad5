/**
 * VERDICTS on a device's states: what an operator may do to it, and with which reason (RFC 5280 §5.3.1) that shows in the CRL.
 * Not the change itself: the registry makes it, and checks the same table (#fleet/device.ts) inside its transaction.
 */

import { DEVICE_MOVES, type DeviceState } from '#fleet/device.ts'
import type { GivenRevocationReason, RevocationReason } from '#fleet/revocation-reason.ts'

type Verb = {
  readonly to: DeviceState
  /** undefined: the operator says, `unspecified` when they do not */
  readonly reason: RevocationReason | undefined
}

/**
 * A verb on a device that is already in its `to` state changes nothing, so it is always allowed. One does change something: that the
 * keys were stolen is often learnt when the device has been revoked or retired for long.
 */
export const DEVICE_VERBS = {
  suspend: { to: 'suspended', reason: 'certificateHold' },
  // Absent from the next CRL; there is no reason to give.
  resume: { to: 'active', reason: 'unspecified' },
  retire: { to: 'retired', reason: 'cessationOfOperation' },
  revoke: { to: 'revoked', reason: undefined },
} as const satisfies Readonly<Record<string, Verb>>

export type DeviceVerb = keyof typeof DEVICE_VERBS
export const DEVICE_VERB_NAMES = Object.keys(DEVICE_VERBS) as readonly DeviceVerb[]

const WAYS_OUT: Readonly<Record<DeviceState, string>> = {
  registered: 'it is registered, and has never enrolled',
  active: 'it is active',
  suspended: 'it is suspended: resume it first',
  revoked: 'it is revoked: only a new token bound to its id brings it back',
  retired: 'it is retired, which is final; it can be revoked only for keyCompromise',
}

export type DeviceChange =
  | { readonly ok: true; readonly state: DeviceState; readonly reason: RevocationReason }
  | { readonly ok: false; readonly reason: 'conflict'; readonly detail: string }

/** @param given the operator's reason; only `revoke` has one */
export const judgeDeviceChange = (
  verb: DeviceVerb,
  from: DeviceState,
  given: GivenRevocationReason | undefined,
): DeviceChange => {
  const row: Verb = DEVICE_VERBS[verb]
  if (from === 'retired' && row.to === 'revoked' && given === 'keyCompromise') {
    return { ok: true, state: from, reason: given }
  }
  if (from !== row.to && !DEVICE_MOVES[from].includes(row.to)) {
    return { ok: false, reason: 'conflict', detail: `cannot ${verb} the device: ${WAYS_OUT[from]}` }
  }
  return { ok: true, state: row.to, reason: row.reason ?? given ?? 'unspecified' }
}
