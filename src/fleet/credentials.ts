/** Claim tokens (devices) and operator tokens (admins), as remembered: only hashes, never the secret. */

import type { DeviceId } from './device-id.ts'

export type ClaimToken = {
  /** public handle, for listing and revoking */
  readonly id: string
  /** SHA-256 of the secret part, hex */
  readonly hash: string
  /** undefined: unbound; creates new ids only */
  readonly deviceId: DeviceId | undefined
  readonly uses: number
  readonly used: number
  readonly createdAt: number
  readonly expiresAt: number
  /** life of the certificates it yields, ms */
  readonly certificateTtl: number
  readonly revokedAt: number | undefined
}

/** Ascending power: each may do what those before it may. */
export const ROLES = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof ROLES)[number]

export type OperatorToken = {
  readonly id: string
  readonly hash: string
  readonly name: string
  readonly role: Role
  readonly createdAt: number
  readonly revokedAt: number | undefined
}

/** Who did it, for the audit: `operator:<token id>`, `device:<id>`, `token:<id>`, `system`, `offline`. */
export type Actor = string

export type AuditEntry = {
  readonly sequence: number
  readonly at: number
  readonly actor: Actor
  /** `token.created`, `certificate.issued`, `device.revoked`, … */
  readonly action: string
  readonly subject: string
  readonly details: Readonly<Record<string, unknown>>
}
