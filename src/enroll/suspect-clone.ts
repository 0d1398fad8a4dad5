/**
 * USE CASE: a certificate asks for what only two who hold it would ask for: another key than its successor has, or key after key. One is the
 * device, one its copy. Which one cannot be told from here, so it is written down and told; the group says what else (docs/lifecycle.md).
 * Not the refusal, and not what makes it suspicious: renew-device.ts.
 */

import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { Registry } from '#registry/registry.ts'
import type { Alert } from './alerts.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Holder } from './renew-device.ts'

/** Told once for as long as the registry writes it down once: a copy that asks without end is not to fill log and pager. */
export const suspectClone = async (
  deps: { readonly registry: Registry; readonly clock: Clock; readonly alert: Alert },
  holder: Holder,
  group: Pick<EnrollmentGroup, 'onClone'>,
  spkiSha256: string,
): Promise<void> => {
  const now = deps.clock()
  const { deviceId, fingerprint, address } = holder
  const action = group.onClone
  const device = await deps.registry.recordCloneSuspicion({
    deviceId,
    fingerprint,
    spkiSha256,
    address,
    action,
    now,
  })
  if (device?.cloneSuspectedAt !== now) return
  deps.alert(
    'clone_suspected',
    { device_id: deviceId, fingerprint, address, action },
    'a certificate asked to be renewed with keys that one device would not ask for: the device may have been copied',
  )
}
