/**
 * Every JSON body of the REST interfaces, once: schema and type in one declaration. snake_case, dates as RFC 3339 UTC.
 * Anchors, applications and policies: access.ts. Not the routes: those are in #enroll.
 */

import Type, { type Static } from 'typebox'
import { ISSUER_STATES, REPLACEMENT_REASONS } from '#fleet/certificate.ts'
import { DEVICE_ID_PATTERN } from '#fleet/device-id.ts'
import { DEVICE_CONDITIONS } from '#fleet/device.ts'
import { ROLES } from '#fleet/credentials.ts'
import { GIVEN_REVOCATION_REASONS } from '#fleet/revocation-reason.ts'
import { closed, Duration, Hex, Instant, literals, Name, orNull, Pem } from './parts.ts'

/** checked against the grammar by the use case, so that a bad one gets `device_id_invalid` and not a schema error */
const AnyDeviceId = Type.String({ maxLength: 256 })

/** `group`: for who shows no credential, or a bootstrap certificate; a claim token has its own, and it is not looked at. */
export const EnrollRequest = Type.Object(
  { csr: Pem, device_id: Type.Optional(AnyDeviceId), group: Type.Optional(Name) },
  closed,
)
export type EnrollRequest = Static<typeof EnrollRequest>

export const RenewRequest = Type.Object({ csr: Pem, device_id: Type.Optional(AnyDeviceId) }, closed)

/**
 * `certificate`: the leaf. `chain`: intermediates, no root. All PEM. `serial`: hex. `renew_after`: its own moment in `renew_window`, to be
 * asked for the next one. `pending`: to be confirmed, by its first use at a door or by `POST /v1/confirm`.
 */
export const EnrollResponse = Type.Object(
  {
    device_id: Type.String({ pattern: DEVICE_ID_PATTERN }),
    certificate: Pem,
    chain: Pem,
    serial: Hex,
    not_before: Instant,
    not_after: Instant,
    renew_after: Instant,
    renew_window: Type.Object({ start: Instant, end: Instant }, closed),
    pending: Type.Boolean(),
  },
  closed,
)
export type EnrollResponse = Static<typeof EnrollResponse>

/** An operator is to decide. `retry_after`: seconds, as in the header. */
export const EnrollWaiting = Type.Object(
  { state: literals(['waiting']), request_id: Type.String(), retry_after: Type.Integer({ minimum: 1 }) },
  closed,
)
export type EnrollWaiting = Static<typeof EnrollWaiting>

/** A device's certificate after `POST /v1/confirm`. `predecessor`: serial of the one that it replaces, which is good beside it until it expires. */
export const ConfirmResponse = Type.Object(
  {
    device_id: Type.String({ pattern: DEVICE_ID_PATTERN }),
    serial: Hex,
    state: literals(['live']),
    predecessor: Type.Optional(Hex),
    not_after: Instant,
    renew_after: Instant,
  },
  closed,
)
export type ConfirmResponse = Static<typeof ConfirmResponse>

/**
 * RFC 9773 §4.2, for mutual TLS. `renew_after`: this certificate's own moment in the window. `retry_after`: seconds until the question is
 * worth asking again. `reason`: it is to be renewed now, whatever its dates say.
 */
export const RenewalAdvice = Type.Object(
  {
    suggested_window: Type.Object({ start: Instant, end: Instant }, closed),
    renew_after: Instant,
    retry_after: Type.Integer({ minimum: 1 }),
    reason: Type.Optional(literals(REPLACEMENT_REASONS)),
  },
  closed,
)
export type RenewalAdvice = Static<typeof RenewalAdvice>

export const TokenCreate = Type.Object(
  {
    device_id: Type.Optional(AnyDeviceId),
    /** of the devices that it makes; one that is here keeps its own */
    group: Type.Optional(Name),
    uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    expires: Type.Optional(Duration),
    cert_ttl: Type.Optional(Duration),
  },
  closed,
)
export type TokenCreate = Static<typeof TokenCreate>

export const Token = Type.Object(
  {
    id: Type.String(),
    device_id: orNull(Type.String()),
    group: Type.String(),
    uses: Type.Integer(),
    used: Type.Integer(),
    expires_at: Instant,
    created_at: Instant,
    /** null: the group's */
    cert_ttl_seconds: orNull(Type.Integer()),
    state: literals(['usable', 'spent', 'expired', 'revoked']),
  },
  closed,
)
export type Token = Static<typeof Token>

/** The only answer that ever holds the secret. */
export const TokenCreated = Type.Object(
  {
    token: Type.String(),
    id: Type.String(),
    device_id: orNull(Type.String()),
    group: Type.String(),
    uses: Type.Integer(),
    expires_at: Instant,
    enroll_url: Type.String(),
    root_sha256: Hex,
  },
  closed,
)
export type TokenCreated = Static<typeof TokenCreated>

const Certificate = Type.Object(
  {
    serial: Hex,
    /** absent: revoked before it was ever signed for sure */
    fingerprint: Type.Optional(Hex),
    state: literals(['pending', 'live', 'revoked']),
    /** absent: it has lost its place */
    slot: Type.Optional(literals(['current', 'previous', 'pending'])),
    issuer_ski: Hex,
    spki_sha256: Hex,
    not_before: Instant,
    not_after: Instant,
    renew_after: Instant,
    /** serial of the one that it renews */
    predecessor: Type.Optional(Hex),
    /** serial of its confirmed successor */
    superseded_by: Type.Optional(Hex),
    /** when it is withdrawn unless it is confirmed */
    pending_until: Type.Optional(Instant),
    revoked_at: Type.Optional(Instant),
    revocation_reason: Type.Optional(Type.String()),
  },
  closed,
)

export const Device = Type.Object(
  {
    id: Type.String(),
    /** its state, or what its dates make of it */
    state: literals(DEVICE_CONDITIONS),
    group: Type.String(),
    tags: Type.Record(Type.String(), Type.String()),
    created_at: Instant,
    last_seen_at: orNull(Instant),
    /** the only key it may enrol with; null: any */
    registered_spki: orNull(Hex),
    /** of its newest confirmed certificate */
    renew_at: orNull(Instant),
    expires_at: orNull(Instant),
    clone_suspected_at: orNull(Instant),
    revision: Type.Integer(),
    certificates: Type.Array(Certificate),
  },
  closed,
)
export type Device = Static<typeof Device>

export const RevokeRequest = Type.Object(
  { reason: Type.Optional(literals(GIVEN_REVOCATION_REASONS)) },
  closed,
)
export type RevokeRequest = Static<typeof RevokeRequest>

export const OperatorCreate = Type.Object(
  { name: Type.String({ minLength: 1, maxLength: 64 }), role: literals(ROLES) },
  closed,
)
export type OperatorCreate = Static<typeof OperatorCreate>

export const Operator = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    role: literals(ROLES),
    created_at: Instant,
    state: literals(['usable', 'revoked']),
  },
  closed,
)
export type Operator = Static<typeof Operator>

export const OperatorCreated = Type.Object(
  { token: Type.String(), id: Type.String(), name: Type.String(), role: literals(ROLES) },
  closed,
)
export type OperatorCreated = Static<typeof OperatorCreated>

// ---- authorities

/**
 * How far it has come. `fetched`, `active_devices`: counted where a count matters, else null; suspended devices count too. In a large fleet
 * counts may be some seconds old.
 */
const offering = {
  state: literals(ISSUER_STATES),
  common_name: orNull(Type.String()),
  not_before: Instant,
  not_after: Instant,
  offered_at: orNull(Instant),
  offered_version: orNull(Type.Integer()),
  fetched: orNull(Type.Integer()),
  active_devices: orNull(Type.Integer()),
}

/** `signs`: new certificates come from it. `key_here`: this desk can sign with it. `live_certificates`: not revoked, not expired. */
export const Issuer = Type.Object(
  {
    ski: Hex,
    sha256: Hex,
    ...offering,
    signs: Type.Boolean(),
    key_here: Type.Boolean(),
    live_certificates: Type.Integer(),
  },
  closed,
)
export type Issuer = Static<typeof Issuer>

/** A root that devices verify servers with. `presented`: the certificate of this desk leads to it. */
export const TrustAnchor = Type.Object({ fingerprint: Hex, ...offering, presented: Type.Boolean() }, closed)
export type TrustAnchor = Static<typeof TrustAnchor>

/** `notes`: what follows from it and what is to be done now, for people. */
export const noted = <T extends Type.TObject>(thing: T) =>
  Type.Interface([thing], { notes: Type.Array(Type.String()) }, closed)
export const IssuerMoved = noted(Issuer)
export type IssuerMoved = Static<typeof IssuerMoved>
export const TrustAnchorMoved = noted(TrustAnchor)
export type TrustAnchorMoved = Static<typeof TrustAnchorMoved>

/** `problems`: what was found and cannot be used, in words. `notes`: what is configured and signs nothing yet, and what to do. */
export const IssuerScan = Type.Object(
  { items: Type.Array(Issuer), problems: Type.Array(Type.String()), notes: Type.Array(Type.String()) },
  closed,
)
export type IssuerScan = Static<typeof IssuerScan>

const MoveRequest = Type.Object({ force: Type.Optional(Type.Boolean()) }, closed)
/** Without a body nothing is forced. */
export const MoveBody = orNull(MoveRequest)
const IssuerRevokeRequest = Type.Object({ reason: Type.Optional(literals(GIVEN_REVOCATION_REASONS)) }, closed)
export const IssuerRevokeBody = orNull(IssuerRevokeRequest)
export const TrustAnchorCreate = Type.Object({ pem: Pem }, closed)
export type TrustAnchorCreate = Static<typeof TrustAnchorCreate>
export const SkiParams = Type.Object({ ski: Type.String({ minLength: 1, maxLength: 128 }) }, closed)
export const FingerprintParams = Type.Object(
  { fingerprint: Type.String({ minLength: 1, maxLength: 128 }) },
  closed,
)

/** `next`: give it back as `?after=`; null on the last page. */
export const listOf = <T extends Type.TSchema>(item: T) =>
  Type.Object({ items: Type.Array(item), next: orNull(Type.String()) }, closed)

// ---- what routes have in common

export type { Static, TSchema } from 'typebox'

export const NameParams = Type.Object({ name: Name }, closed)
/** checked against its grammar by the use case: what is no device id names no device */
export const IdParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 256 }) }, closed)

const page = {
  after: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
}
/** Keyset paging: `after` is the `next` of the page before. */
export const PageQuery = Type.Object(page, closed)
export const DevicePageQuery = Type.Object(
  { ...page, state: Type.Optional(literals(DEVICE_CONDITIONS)), group: Type.Optional(Name) },
  closed,
)

/** RFC 9110 §13.1.1 and §13.1.2: change it only if it is still what was read; make it only if it is not there (`*`). */
export const ConditionalHeaders = Type.Object({
  'if-match': Type.Optional(Type.String({ maxLength: 256 })),
  'if-none-match': Type.Optional(Type.Enum(['*'] as const)),
})
/** The same key with the same request: the same answer, and nothing is made twice. */
export const IdempotentHeaders = Type.Object({
  'idempotency-key': Type.Optional(Type.String({ pattern: '^[\\x21-\\x7e]{1,255}$' })),
})

/** A body that says nothing: absent, null or {}. */
export const NoBody = Type.Union([Type.Object({}, closed), Type.Null()])
/** The same for a revocation: without a body it is `unspecified`. */
export const RevokeBody = orNull(RevokeRequest)
/** 204 */
export const Nothing = Type.Null()
