/**
 * JSON bodies of what the HTTPS door knows beside policies: service tokens, sessions that end early, signing keys, CRLs of foreign anchors.
 * As rest.ts: snake_case, dates as RFC 3339 UTC. Not the routes.
 */

import Type, { type Static } from 'typebox'
import { ON_STALE } from '#fleet/access.ts'
import { SESSION_SCOPES } from '#fleet/session.ts'
import { closed, Duration, Hex, Instant, literals, Name, orNull } from './parts.ts'
import { ConditionalHeaders, IdempotentHeaders } from './rest.ts'

// ---- service tokens

/** `duration`: how long it is good; `forever`, or absent for a year. */
export const ServiceTokenCreate = Type.Object({ name: Name, duration: Type.Optional(Duration) }, closed)
export type ServiceTokenCreate = Static<typeof ServiceTokenCreate>

const serviceToken = {
  /** what rules name: `{"service_token": {"token_id": …}}` */
  id: Type.String(),
  name: Type.String(),
  /** the value of CF-Access-Client-Id */
  client_id: Type.String(),
  created_at: Instant,
  /** null: never */
  expires_at: orNull(Instant),
  /** until when the secret of before a rotation is good too; null: it is not */
  previous_until: orNull(Instant),
  state: literals(['usable', 'expired', 'revoked']),
}

export const ServiceToken = Type.Object(serviceToken, closed)
export type ServiceToken = Static<typeof ServiceToken>

/** The only answer that ever holds this secret, the value of CF-Access-Client-Secret. */
export const ServiceTokenSecret = Type.Object({ ...serviceToken, client_secret: Type.String() }, closed)
export type ServiceTokenSecret = Static<typeof ServiceTokenSecret>

/** `grace`: how long the secret of before stays good; default `0s`. */
export const ServiceTokenRotate = Type.Union([
  Type.Object({ grace: Type.Optional(Duration) }, closed),
  Type.Null(),
])
export type ServiceTokenRotate = Static<typeof ServiceTokenRotate>

/** Of what changes one thing and answers with a secret. */
export const ChangedOnceHeaders = Type.Interface([ConditionalHeaders, IdempotentHeaders], {})

// ---- sessions

/**
 * `subject`: of `token` its `jti`; of `device` its id, or `<anchor>/<common name>` of a certificate that is not ours; of `application` its
 * name; of `everything` absent.
 */
export const SessionsRevoke = Type.Object(
  {
    scope: literals(SESSION_SCOPES),
    subject: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  },
  closed,
)
export type SessionsRevoke = Static<typeof SessionsRevoke>

/** `before`: those that began at or before it. `expires_at`: when none of them can be alive any more, and this is forgotten. */
export const SessionsRevoked = Type.Object(
  {
    scope: literals(SESSION_SCOPES),
    subject: orNull(Type.String()),
    before: Instant,
    expires_at: Instant,
  },
  closed,
)
export type SessionsRevoked = Static<typeof SessionsRevoked>

// ---- signing keys

/** `rotates_at`: of the one that signs. `retires_at`: of the others: what they have signed is accepted until then. */
export const SigningKey = Type.Object(
  {
    kid: Type.String(),
    algorithm: Type.String(),
    signs: Type.Boolean(),
    created_at: Instant,
    rotates_at: orNull(Instant),
    retires_at: orNull(Instant),
  },
  closed,
)
export type SigningKey = Static<typeof SigningKey>

/** `discard`: keys of before end at once, and with them every session that they signed. */
export const SigningKeyRotate = Type.Union([
  Type.Object({ discard: Type.Optional(Type.Boolean()) }, closed),
  Type.Null(),
])

// ---- CRLs of foreign anchors

/** `crl`: PEM, or DER as base64. */
export const AnchorCrlPut = Type.Object({ crl: Type.String({ minLength: 1 }) }, closed)
export type AnchorCrlPut = Static<typeof AnchorCrlPut>

/** A CA of the anchor, and the CRL that it signed. */
const AnchorAuthority = Type.Object(
  {
    common_name: orNull(Type.String()),
    /** SHA-256 of its SubjectPublicKeyInfo */
    spki_sha256: Hex,
    state: literals(['current', 'ended', 'missing']),
    /** decimal */
    number: orNull(Type.String()),
    this_update: orNull(Instant),
    next_update: orNull(Instant),
    entries: orNull(Type.Integer()),
    /** the URL that it came from, or `upload` */
    source: orNull(Type.String()),
    kept_at: orNull(Instant),
  },
  closed,
)

/** `fetched_at`: when it last answered with something good. `problem`: what is wrong with it now. */
const CrlSource = Type.Object(
  {
    url: Type.String(),
    fetched_at: orNull(Instant),
    failing_since: orNull(Instant),
    problem: orNull(Type.String()),
  },
  closed,
)

/** `on_stale`: null: the anchor has no `crl`, so nobody asks what is revoked. */
export const AnchorCrls = Type.Object(
  {
    anchor: Name,
    on_stale: orNull(literals(ON_STALE)),
    authorities: Type.Array(AnchorAuthority),
    sources: Type.Array(CrlSource),
  },
  closed,
)
export type AnchorCrls = Static<typeof AnchorCrls>
