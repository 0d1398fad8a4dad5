/**
 * USE CASE: something is seen that only two who hold one certificate would do. One is the device, one its copy. Which one cannot be told from
 * here, so it is written down and told; the group says what else (docs/lifecycle.md). Not the refusal of a renewal, and not what makes one
 * suspicious: renew-device.ts. Not what the gateway says: clone-reports.ts.
 */

import type { Clock } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { CloneSign } from '#registry/renewals.ts'
import type { Registry } from '#registry/registry.ts'
import type { Alert } from './alerts.ts'
import type { Holder } from './renew-device.ts'

type Deps = { readonly registry: Registry; readonly clock: Clock; readonly alert: Alert }
type Group = Pick<EnrollmentGroup, 'onClone'>

/** An operator is asked by a renewal that waits. Where none does, no request comes, and none is told of. */
export const unasked = ({ onClone }: Group): Group => ({
  onClone: onClone === 'approval' ? 'alert' : onClone,
})

type Suspicion = {
  readonly deviceId: DeviceId
  readonly fingerprint: string
  readonly sign: CloneSign
  readonly spkiSha256?: string
  readonly address?: string
}

const TEXTS: Readonly<Record<CloneSign, string>> = {
  renewal:
    'a certificate asked to be renewed with keys that one device would not ask for: the device may have been copied',
  takeovers:
    'two live connections took a ClientID from each other again and again: the device may have been copied',
}

/**
 * Told once for as long as the registry writes it down once: a copy that asks without end is not to fill log and pager.
 * @returns was it news?
 */
export const tellSuspicion = async (deps: Deps, suspicion: Suspicion, group: Group): Promise<boolean> => {
  const now = deps.clock()
  const { deviceId, fingerprint, sign, address } = suspicion
  const action = group.onClone
  const device = await deps.registry.recordCloneSuspicion({ ...suspicion, action, now })
  if (device?.cloneSuspectedAt !== now) return false
  deps.alert(
    'clone_suspected',
    { device_id: deviceId, fingerprint, sign, ...(address === undefined ? {} : { address }), action },
    TEXTS[sign],
  )
  return true
}

/** A certificate asks for another key than its successor has, or for key after key. */
export const suspectClone = async (
  deps: Deps,
  { deviceId, fingerprint, address }: Holder,
  group: Group,
  spkiSha256: string,
): Promise<void> => {
  await tellSuspicion(deps, { deviceId, fingerprint, address, spkiSha256, sign: 'renewal' }, group)
}
