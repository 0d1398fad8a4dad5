/** USE CASE: an operator suspends, resumes, retires or revokes a device. Open connections end because the gateways read the change feed. */

import { isDeviceId } from '#fleet/device-id.ts'
import type { Actor } from '#fleet/credentials.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Device } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import { judgeDeviceChange, type DeviceVerb } from '#policy/revocation.ts'
import type { Registry } from '#registry/registry.ts'

/** @throws FleetError `not_found` */
export const findDevice = async (registry: Registry, id: string): Promise<Device> => {
  const device = isDeviceId(id) ? await registry.findDevice(id) : undefined
  if (device === undefined) throw new FleetError('not_found', 'no such device')
  return device
}

/** @throws FleetError `not_found`, `conflict`, `precondition_failed`, `registry_unavailable` */
export const setDeviceState = async (
  { registry, clock }: { readonly registry: Registry; readonly clock: Clock },
  ask: {
    readonly id: string
    readonly verb: DeviceVerb
    readonly reason?: GivenRevocationReason | undefined
    readonly ifRevision?: number | undefined
  },
  actor: Actor,
): Promise<Device> => {
  const device = await findDevice(registry, ask.id)
  const change = judgeDeviceChange(ask.verb, device.state, ask.reason)
  if (!change.ok) throw new FleetError(change.reason, change.detail)
  // The registry judges again inside its transaction; this verdict only said it better.
  const changed = await registry.setDeviceState({
    id: device.id,
    state: change.state,
    reason: change.reason,
    now: clock(),
    actor,
    ifRevision: ask.ifRevision,
  })
  if (changed === undefined) throw new FleetError('not_found', 'no such device')
  return changed
}
