/** A device as the registry remembers it. Not its certificates: those are {@link CertificateRecord}s. */

import type { DeviceId } from './device-id.ts'

/**
 * `registered`: known by id, perhaps with its key, and never enrolled.
 * `revoked`: every certificate and every outstanding token of the device is void; only a new token bound to the id brings it back.
 * `retired`: final.
 */
export const DEVICE_STATES = ['registered', 'active', 'suspended', 'revoked', 'retired'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]

/**
 * From each state, where an operator may move a device. `revoked` → `active` is missing: that is a new token's work; `registered` →
 * `active`: that is its enrolment. One that is resumed without ever having had a certificate is `registered` again.
 */
export const DEVICE_MOVES: Readonly<Record<DeviceState, readonly DeviceState[]>> = {
  registered: ['suspended', 'revoked', 'retired'],
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
  /** the key it must enrol with, hex SHA-256 of its SubjectPublicKeyInfo; undefined: any */
  readonly registeredSpki: string | undefined
  /** of its newest confirmed certificate; undefined: it never had one */
  readonly renewAt: number | undefined
  readonly expiresAt: number | undefined
  /** when a superseded certificate of it last asked to be renewed with another key */
  readonly cloneSuspectedAt: number | undefined
  /** Rises with every change of the device; the ETag. */
  readonly revision: number
}

/** What a device shows as. `renewal_due` and `expired` are read from dates, and stored nowhere. */
export const DEVICE_CONDITIONS = [...DEVICE_STATES, 'renewal_due', 'expired'] as const
export type DeviceCondition = (typeof DEVICE_CONDITIONS)[number]

/** A suspended or ended device is that before it is anything by date. */
export const conditionOf = (
  { state, renewAt, expiresAt }: Pick<Device, 'state' | 'renewAt' | 'expiresAt'>,
  now: number,
): DeviceCondition => {
  if (state !== 'active' || expiresAt === undefined) return state
  if (now > expiresAt) return 'expired'
  return renewAt !== undefined && now >= renewAt ? 'renewal_due' : state
}
