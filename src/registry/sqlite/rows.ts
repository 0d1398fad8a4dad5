/**
 * Rows as SQLite gives them, and the nouns they stand for. The schema's CHECKs keep the closed sets closed, so that a row may be
 * taken at its word. Not queries: those stand with the verbs.
 */

import type { CertificateRecord, CertificateState, IssuerRecord, IssuerState } from '#fleet/certificate.ts'
import type { ClaimToken, OperatorToken, Role, ServiceToken } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Device, DeviceState } from '#fleet/device.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { CertificateSummary } from '../registry.ts'

export type Tags = Readonly<Record<string, string>>

const NO_TAGS: Tags = Object.freeze({})

/** Most devices have none, and the doors ask for each request. */
export const tagsOf = (json: string): Tags => (json === '{}' ? NO_TAGS : (JSON.parse(json) as Tags))

export type DeviceRow = {
  readonly id: DeviceId
  readonly state: DeviceState
  readonly group_name: string
  readonly tags: string
  readonly created_at: number
  readonly last_seen_at: number | null
  readonly registered_spki: string | null
  readonly renew_at: number | null
  readonly expires_at: number | null
  readonly clone_suspected_at: number | null
  readonly late_renewals: number
  readonly revision: number
}

export const DEVICE_COLUMNS =
  'id, state, group_name, tags, created_at, last_seen_at, registered_spki, renew_at, expires_at, clone_suspected_at, late_renewals, revision'

export const toDevice = (row: DeviceRow): Device => ({
  id: row.id,
  state: row.state,
  group: row.group_name,
  tags: tagsOf(row.tags),
  createdAt: row.created_at,
  lastSeenAt: row.last_seen_at ?? undefined,
  registeredSpki: row.registered_spki ?? undefined,
  renewAt: row.renew_at ?? undefined,
  expiresAt: row.expires_at ?? undefined,
  cloneSuspectedAt: row.clone_suspected_at ?? undefined,
  revision: row.revision,
})

export type CertificateRow = {
  readonly number: number
  readonly serial: string
  readonly device_id: DeviceId
  readonly issuer_ski: string
  readonly spki_sha256: string
  readonly reserved_at: number
  readonly state: CertificateState
  readonly not_before: number
  readonly not_after: number
  readonly renew_at: number
  readonly extras: string | null
  readonly predecessor: string | null
  readonly superseded_by: string | null
  readonly pending_until: number | null
  readonly fingerprint: string | null
  readonly revoked_at: number | null
  readonly revocation_reason: RevocationReason | null
  readonly der: Buffer | null
}
export type CertificateSummaryRow = Omit<CertificateRow, 'der'>

const SUMMARY_COLUMNS =
  'number, serial, device_id, issuer_ski, spki_sha256, reserved_at, state, not_before, not_after, renew_at, extras, predecessor, superseded_by, pending_until, fingerprint, revoked_at, revocation_reason'

/** Both are to be completed by a `where`, with `+?` for the reason in doors.ts. */
export const SELECT_SUMMARY = `select ${SUMMARY_COLUMNS} from certificates`
/** A certificate has its bytes from when it is `live` or `pending`. */
export const SELECT_CERTIFICATE = `
  select ${SUMMARY_COLUMNS}, der from certificates left join certificate_bytes using (number)`
/** With `issuer_state`. */
export const SELECT_WITH_ISSUER = `
  select ${SUMMARY_COLUMNS}, der, (select i.state from issuers i where i.ski = issuer_ski) as issuer_state
  from certificates left join certificate_bytes using (number)`

export const toSummary = (row: CertificateSummaryRow): CertificateSummary => ({
  serial: row.serial,
  deviceId: row.device_id,
  issuerSki: row.issuer_ski,
  spkiSha256: row.spki_sha256,
  state: row.state,
  notBefore: row.not_before,
  notAfter: row.not_after,
  renewAt: row.renew_at,
  extras: row.extras === null ? undefined : (JSON.parse(row.extras) as CertificateRecord['extras']),
  predecessor: row.predecessor ?? undefined,
  supersededBy: row.superseded_by ?? undefined,
  pendingUntil: row.pending_until ?? undefined,
  fingerprint: row.fingerprint ?? undefined,
  revokedAt: row.revoked_at ?? undefined,
  revocationReason: row.revocation_reason ?? undefined,
})

export const toCertificate = (row: CertificateRow): CertificateRecord => ({
  ...toSummary(row),
  der: row.der ?? undefined,
})

export type ClaimTokenRow = {
  readonly number: number
  readonly id: string
  readonly hash: string
  readonly device_id: DeviceId | null
  readonly group_name: string
  readonly uses: number
  readonly used: number
  readonly created_at: number
  readonly expires_at: number
  readonly certificate_ttl: number | null
  readonly revoked_at: number | null
}

export const toClaimToken = (row: ClaimTokenRow): ClaimToken => ({
  id: row.id,
  hash: row.hash,
  deviceId: row.device_id ?? undefined,
  group: row.group_name,
  uses: row.uses,
  used: row.used,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  certificateTtl: row.certificate_ttl ?? undefined,
  revokedAt: row.revoked_at ?? undefined,
})

export type OperatorTokenRow = {
  readonly number: number
  readonly id: string
  readonly hash: string
  readonly name: string
  readonly role: Role
  readonly created_at: number
  readonly revoked_at: number | null
}

export const toOperatorToken = (row: OperatorTokenRow): OperatorToken => ({
  id: row.id,
  hash: row.hash,
  name: row.name,
  role: row.role,
  createdAt: row.created_at,
  revokedAt: row.revoked_at ?? undefined,
})

export type ServiceTokenRow = {
  readonly number: number
  readonly id: string
  readonly name: string
  readonly client_id: string
  readonly hash: string
  readonly previous_hash: string | null
  readonly previous_until: number | null
  readonly revision: number
  readonly created_at: number
  readonly expires_at: number | null
  readonly revoked_at: number | null
}

export const toServiceToken = (row: ServiceTokenRow): ServiceToken => ({
  id: row.id,
  name: row.name,
  clientId: row.client_id,
  hash: row.hash,
  previous:
    row.previous_hash === null || row.previous_until === null
      ? undefined
      : { hash: row.previous_hash, until: row.previous_until },
  revision: row.revision,
  createdAt: row.created_at,
  expiresAt: row.expires_at ?? undefined,
  revokedAt: row.revoked_at ?? undefined,
})

export type IssuerRow = {
  readonly ski: string
  readonly der: Buffer
  readonly state: IssuerState
  readonly offered_at: number | null
  readonly offered_version: number | null
}

export const ISSUER_COLUMNS = 'ski, der, state, offered_at, offered_version'

export const toIssuer = ({ offered_at, offered_version, ...row }: IssuerRow): IssuerRecord => ({
  ...row,
  offeredAt: offered_at ?? undefined,
  offeredVersion: offered_version ?? undefined,
})
