/** A device as the registry remembers it. Not its certificates: those are {@link CertificateRecord}s. */

import type { DeviceId } from './device-id.ts'

/**
 * `revoked`: every certificate and every outstanding token of the device is void; only a new token bound to the id brings it back.
 * `retired`: final.
 */
export const DEVICE_STATES = ['active', 'suspended', 'revoked', 'retired'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]

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
