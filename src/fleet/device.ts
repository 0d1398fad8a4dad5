/** A device as the registry remembers it. Not its certificates: those are {@link CertificateRecord}s. */

import type { DeviceId } from './device-id.ts'

/**
 * `registered`: known by id, perhaps with its key, and never enrolled.
 * `revoked`: every certificate and every outstanding token of the device is void; only a new token bound to the id brings it back.
 * `retired`: final.
 */
export const DEVICE_STATES = ['registered', 'active', 'suspended', 'revoked', 'retired'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]

/** Who makes a move: an operator; an enrolment; a new token that is bound to the id; the desk, for which a copy of the device asked. */
export const MOVERS = ['operator', 'enrolment', 'bound_token', 'clone_suspected'] as const
export type Mover = (typeof MOVERS)[number]

/** Every move there is (docs/lifecycle.md). Suspended without ever having had a certificate: its resumption makes it `registered`. */
export const DEVICE_TRANSITIONS: readonly {
  readonly from: DeviceState
  readonly to: DeviceState
  readonly by: Mover
}[] = [
  { from: 'registered', to: 'active', by: 'enrolment' },
  { from: 'registered', to: 'suspended', by: 'operator' },
  { from: 'registered', to: 'revoked', by: 'operator' },
  { from: 'registered', to: 'retired', by: 'operator' },
  { from: 'active', to: 'suspended', by: 'operator' },
  { from: 'active', to: 'suspended', by: 'clone_suspected' },
  { from: 'active', to: 'revoked', by: 'operator' },
  { from: 'active', to: 'retired', by: 'operator' },
  { from: 'suspended', to: 'active', by: 'operator' },
  { from: 'suspended', to: 'registered', by: 'operator' },
  { from: 'suspended', to: 'revoked', by: 'operator' },
  { from: 'suspended', to: 'retired', by: 'operator' },
  { from: 'revoked', to: 'active', by: 'bound_token' },
  { from: 'revoked', to: 'retired', by: 'operator' },
]

/** Is there such a move? Whoever changes a state asks here, or {@link DEVICE_MOVES}, and decides none of it anew. */
export const mayMove = (from: DeviceState, to: DeviceState, by: Mover): boolean =>
  DEVICE_TRANSITIONS.some((move) => move.from === from && move.to === to && move.by === by)

const movesFrom = (state: DeviceState): readonly DeviceState[] =>
  // `resume` is asked for as `active`, whatever comes of it
  DEVICE_STATES.filter((to) => to !== 'registered' && mayMove(state, to, 'operator'))

/** From each state, where an operator may move a device. */
export const DEVICE_MOVES = Object.fromEntries(
  DEVICE_STATES.map((state) => [state, movesFrom(state)]),
) as Readonly<Record<DeviceState, readonly DeviceState[]>>

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
