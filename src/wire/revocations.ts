/** JSON bodies of certificates, their revocation, and CRLs. As rest.ts: snake_case, dates as RFC 3339 UTC. Not the routes. */

import Type, { type Static } from 'typebox'
import { GIVEN_REVOCATION_REASONS } from '#fleet/revocation-reason.ts'
import { closed, Hex, Instant, literals } from './parts.ts'
import { PageQuery } from './rest.ts'

const Reason = literals(GIVEN_REVOCATION_REASONS)

export const LISTED_STATES = ['pending', 'live', 'revoked'] as const

const certificate = {
  serial: Hex,
  device_id: Type.String(),
  /** subject key id */
  issuer: Hex,
  /** of the whole SubjectPublicKeyInfo */
  spki_sha256: Hex,
  /** absent: revoked before it was ever signed for sure */
  fingerprint: Type.Optional(Hex),
  state: literals(LISTED_STATES),
  not_before: Instant,
  not_after: Instant,
  /** serial of the certificate it renews */
  renews: Type.Optional(Hex),
  /** serial of the one confirmed in its place */
  superseded_by: Type.Optional(Hex),
  revoked_at: Type.Optional(Instant),
  revocation_reason: Type.Optional(Type.String()),
}

export const CertificateItem = Type.Object(certificate, closed)
export type CertificateItem = Static<typeof CertificateItem>

/** `pem`: absent like `fingerprint`. */
export const CertificateShown = Type.Object({ ...certificate, pem: Type.Optional(Type.String()) }, closed)
export type CertificateShown = Static<typeof CertificateShown>

export const CertificatePageQuery = Type.Interface(
  [PageQuery],
  {
    /** a device id: all that it ever had */
    device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    state: Type.Optional(literals(LISTED_STATES)),
    issuer: Type.Optional(Hex),
  },
  closed,
)

/** checked by the use case: what is no serial names no certificate */
export const SerialParams = Type.Object({ serial: Type.String({ minLength: 1, maxLength: 128 }) }, closed)

/** `after`: the `next` of the answer before. */
export const GroupRevoke = Type.Union([
  Type.Object(
    { reason: Type.Optional(Reason), after: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })) },
    closed,
  ),
  Type.Null(),
])
export type GroupRevoke = Static<typeof GroupRevoke>

/** `revoked`: how many devices, by this request. `next`: there are more, ask again with it as `after`; null: all are. */
export const GroupRevoked = Type.Object(
  { group: Type.String(), revoked: Type.Integer(), next: Type.Union([Type.String(), Type.Null()]) },
  closed,
)
export type GroupRevoked = Static<typeof GroupRevoked>

/**
 * Of a serial that is on no record. `not_after`: the end of its certificate, if it is known; it is listed until then, else until its
 * issuer ends.
 */
export const SerialRevoke = Type.Union([
  Type.Object({ reason: Type.Optional(Reason), not_after: Type.Optional(Instant) }, closed),
  Type.Null(),
])

/** `on_record`: a certificate that was issued here, with its device. */
export const SerialRevoked = Type.Object(
  {
    issuer: Hex,
    serial: Hex,
    on_record: Type.Boolean(),
    not_after: Instant,
    revoked_at: Instant,
    revocation_reason: Type.String(),
  },
  closed,
)
export type SerialRevoked = Static<typeof SerialRevoked>

export const IssuerSerialParams = Type.Object(
  {
    ski: Type.String({ minLength: 1, maxLength: 128 }),
    serial: Type.String({ minLength: 1, maxLength: 128 }),
  },
  closed,
)

/** `crl`: PEM, or DER as base64. `force`: it may leave out what the one before it lists. */
export const CrlImport = Type.Object(
  { crl: Type.String({ minLength: 1, maxLength: 1_048_576 }), force: Type.Optional(Type.Boolean()) },
  closed,
)
export type CrlImport = Static<typeof CrlImport>

/** `made`: by this desk. `imported`: signed elsewhere. `number`: decimal, since it may be larger than a number of JSON. */
export const CrlItem = Type.Object(
  {
    issuer: Hex,
    source: literals(['made', 'imported']),
    number: Type.String(),
    this_update: Instant,
    next_update: Instant,
    path: Type.String(),
  },
  closed,
)
export type CrlItem = Static<typeof CrlItem>
