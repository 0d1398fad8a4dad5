/** Claim tokens (devices) and operator tokens (admins), as remembered: only hashes, never the secret. */

import type { DeviceId } from './device-id.ts'

export type ClaimToken = {
  /** public handle, for listing and revoking */
  readonly id: string
  /** SHA-256 of the secret part, hex */
  readonly hash: string
  /** undefined: unbound; creates new ids only */
  readonly deviceId: DeviceId | undefined
  /** of the devices it makes */
  readonly group: string
  readonly uses: number
  readonly used: number
  readonly createdAt: number
  readonly expiresAt: number
  /** life of the certificates it yields, ms; undefined: the group's */
  readonly certificateTtl: number | undefined
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

/**
 * A service token (Cloudflare Access): a client id and a secret in two header fields, for programs that have no certificate. As remembered:
 * only hashes.
 */
export type ServiceToken = {
  /** public handle, what rules name */
  readonly id: string
  readonly name: string
  /** the value of CF-Access-Client-Id: `<32 hex>.access` */
  readonly clientId: string
  /** SHA-256 of the secret, hex */
  readonly hash: string
  /** the secret of before a rotation, good until then; undefined: none */
  readonly previous: { readonly hash: string; readonly until: number } | undefined
  /** counts what was done to it, from 1 */
  readonly revision: number
  readonly createdAt: number
  /** undefined: never */
  readonly expiresAt: number | undefined
  readonly revokedAt: number | undefined
}

/**
 * Who did it, for the audit: `operator:<token id>`, `device:<id>`, `token:<id>`, `bootstrap:<fingerprint>`, `address:<IP>` (who has proved
 * nothing but a key), `system`, `offline`.
 */
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

/** `approved`: an operator said yes, and the same request made again gets its certificate. `issued`: it did. */
export const REQUEST_STATES = ['waiting', 'approved', 'denied', 'issued', 'expired'] as const
export type RequestState = (typeof REQUEST_STATES)[number]

/** An enrolment that an operator decides. One credential and key have at most one that is open. */
export type EnrollmentRequest = {
  /** public handle */
  readonly id: string
  readonly state: RequestState
  readonly group: string
  readonly deviceId: DeviceId
  readonly spkiSha256: string
  /** DER, as it was sent first; only this one is signed */
  readonly csr: Uint8Array
  /** `none`: nothing but the operator's yes. `renewal`: a device under suspicion of having been cloned */
  readonly credential: {
    readonly kind: 'token' | 'bootstrap' | 'allow_list' | 'none' | 'renewal'
    readonly id: string
  }
  /** remote IP of who asked first */
  readonly address: string
  readonly createdAt: number
  readonly expiresAt: number
  readonly decidedAt: number | undefined
  readonly decidedBy: Actor | undefined
}
