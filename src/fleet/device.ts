/** A device as the registry remembers it. Not its certificates: those are {@link CertificateRecord}s. */

import type { DeviceId } from './device-id.ts'

/**
 * `revoked`: every certificate and every outstanding token of the device is void; only a new token bound to the id brings it back.
 * `retired`: final.
 */
export const DEVICE_STATES = ['active', 'suspended', 'revoked', 'retired'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]

/** From each state, where an operator may move a device. `revoked` → `active` is missing: that is a new token's work. */
export const DEVICE_MOVES: Readonly<Record<DeviceState, readonly DeviceState[]>> = {
  active: ['suspended', 'revoked', 'retired'],
  suspended: ['active', 'revoked', 'retired'],
  revoked: ['retired'],
  retired: [],
}

/** All its certificates are void. What becomes known afterwards, a stolen key, is still written down. */
export const isEnded = (state: DeviceState): boolean => state === 'revoked' || state === 'retired'

export type Device = {
  readonly id: DeviceId
  readonly state: DeviceState
  readonly group: string
  readonly tags: Readonly<Record<string, string>>
  /** ms since the epoch */
  readonly createdAt: number
  readonly lastSeenAt: number | undefined
  /** Rises with every change of the device; the ETag. */
  readonly revision: number
}
