/** MEMORY of what is known before anybody enrols: registered devices and blocked keys. A part of {@link Registry}. */

import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Page, Paged } from './page.ts'

/** One line of an import. undefined: as it is; of a new device the first group, no tags, any key, `registered`. */
export type Registration = {
  readonly id: DeviceId
  readonly group: string | undefined
  readonly tags: Readonly<Record<string, string>> | undefined
  /** the only key it may enrol with */
  readonly spkiSha256: string | undefined
  /** `suspended`: registered, and not let in until it is resumed */
  readonly state: 'registered' | 'suspended' | undefined
}

/** `created`, `updated`: written. `unchanged`: it was so already. `refused`: nothing of this line was written. */
export type RegistrationResult = {
  readonly id: string
  readonly result: 'created' | 'updated' | 'unchanged' | 'refused'
  readonly reason?: 'device_exists' | 'key_in_use' | 'key_compromised' | 'quota_exceeded'
}

export interface FleetListMemory {
  /**
   * In one transaction, each line by itself. A device that has enrolled gets group and tags, and keeps its state; its registered key can
   * no longer be changed (`device_exists`). An id that differs only in case from another: `device_exists`. A device more in
   * a group than its quota of devices: `quota_exceeded`. One audit entry for all,
   * change rows for devices that the doors know.
   */
  registerDevices(
    lines: readonly Registration[],
    now: number,
    actor: Actor,
  ): Promise<readonly RegistrationResult[]>
  /** Never certified, whoever asks; certificates that have them stay. @returns how many are new */
  blockKeys(spkis: readonly string[], now: number, actor: Actor): Promise<number>
  /** false: it is not blocked, or it was reported compromised with a device, which is for ever */
  unblockKey(spki: string, now: number, actor: Actor): Promise<boolean>
  listBlockedKeys(page: Page): Promise<Paged<{ readonly spkiSha256: string; readonly blockedAt: number }>>
}
