/**
 * The one table from an error code to what the outside sees (RFC 9457). docs/problems.md is held against it.
 * Not the writer of replies: that is #runtime/problem-reply.ts.
 */

import Type, { type Static } from 'typebox'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'

type Row = { readonly status: number; readonly title: string }

const row = (status: number, title: string): Row => ({ status, title })

export const PROBLEMS: Readonly<Record<ErrorCode, Row>> = {
  certificate_required: row(403, 'A client certificate is required'),
  certificate_untrusted: row(403, 'The client certificate is not from a trusted issuer'),
  certificate_expired: row(403, 'The client certificate has expired'),
  certificate_not_yet_valid: row(403, 'The client certificate is not yet valid'),
  certificate_wrong_purpose: row(403, 'The certificate may not be used as a client certificate'),
  certificate_weak_key: row(403, "The certificate's key or signature is too weak"),
  certificate_revoked: row(403, 'The client certificate has been revoked'),
  revocation_unknown: row(403, "The anchor's revocation list is missing or stale"),
  certificate_unknown: row(403, 'The certificate is ours but not on record'),
  issuer_revoked: row(403, 'The issuer of the client certificate has been revoked or retired'),
  device_suspended: row(403, 'The device is suspended'),
  device_retired: row(403, 'The device is retired'),
  policy_denied: row(403, 'No policy allows this'),
  origin_denied: row(403, 'Pages of this Origin may not ask for this'),
  no_application: row(403, 'No application is configured for this host and path'),
  host_mismatch: row(421, 'Host and TLS server name must be present and equal'),
  bad_target: row(400, 'The request target is ambiguous or malformed'),
  session_resumed: row(403, 'A resumed TLS session is not a fresh handshake'),
  handshake_not_fresh: row(421, 'This needs a connection of its own'),
  session_expired: row(401, 'The session has ended'),
  token_invalid: row(401, 'The token is not valid'),
  token_binding_mismatch: row(403, 'The token belongs to another certificate'),
  client_id_mismatch: row(403, "The ClientID is not the certificate's device"),
  topic_denied: row(403, 'The topic is not allowed'),
  rate_limited: row(429, 'Too many attempts'),
  registry_unavailable: row(503, 'The registry is not available'),

  bad_request: row(400, 'The request is malformed'),
  bad_csr: row(400, 'The certification request is malformed'),
  csr_signature_invalid: row(400, 'The certification request is not signed by its own key'),
  weak_key: row(400, 'The key is too weak or of a kind we do not sign'),
  key_in_use: row(409, 'The key belongs to another device'),
  key_compromised: row(400, 'The key has been reported compromised'),
  device_id_invalid: row(400, 'The device id is malformed'),
  device_id_mismatch: row(400, 'Two places name different device ids'),
  device_exists: row(409, 'The device id is taken'),
  device_revoked: row(403, 'The device is revoked'),
  device_not_registered: row(403, 'The device id was not registered before'),
  certificate_pending: row(403, 'The certificate has not been confirmed yet'),
  clone_suspected: row(403, 'The certificate has been superseded: a copy of it may be in use'),
  group_disabled: row(403, 'The enrolment group is disabled'),
  credential_not_allowed: row(403, 'The enrolment group does not take this credential'),
  key_kind_not_allowed: row(400, 'The enrolment group does not take this kind of key'),
  enrollment_denied: row(403, 'The enrolment was denied'),
  quota_exceeded: row(429, 'A quota has been used up'),
  credential_required: row(401, 'A credential is required'),
  token_expired: row(401, 'The token has expired'),
  token_spent: row(401, 'The token has no uses left'),
  token_revoked: row(401, 'The token has been revoked'),
  forbidden: row(403, 'The credential may not do this'),
  not_found: row(404, 'There is no such thing'),
  method_not_allowed: row(405, 'The method is not allowed here'),
  conflict: row(409, 'The state of the thing does not allow this'),
  in_use: row(409, 'Something else still refers to it'),
  precondition_failed: row(412, 'It has changed since you read it'),
  idempotency_mismatch: row(422, 'The Idempotency-Key was used for another request'),
  unsupported: row(422, 'Not supported'),
  unsupported_media_type: row(415, 'The media type is not supported'),
  upgrade_required: row(426, 'Another version of the protocol is needed'),
  request_timeout: row(408, 'The request took too long to arrive'),
  body_too_large: row(413, 'The body is too large'),
  headers_too_large: row(431, 'The headers are too large'),
  expectation_failed: row(417, 'The expectation cannot be met'),

  origin_unreachable: row(502, 'The origin cannot be reached'),
  origin_timeout: row(504, 'The origin did not answer in time'),
  webhook_unavailable: row(503, 'The enrolment webhook did not answer'),
  clock_behind: row(503, "The CA's clock is behind its own records"),
  issuer_unusable: row(503, 'The issuing CA cannot sign now'),
  internal: row(500, 'Something is broken on our side'),

  config_invalid: row(500, 'The configuration is not valid'),
  target_unreachable: row(503, 'The target cannot be reached'),
  expectation_broken: row(500, 'An expectation was not met'),
}

/** RFC 9457, with `reason` (the code) and `request_id` (the one in our log). */
export const Problem = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.Optional(Type.String()),
  reason: Type.String(),
  request_id: Type.String(),
})
export type Problem = Static<typeof Problem>

export const PROBLEM_TYPE = 'application/problem+json'

/** Details of unknown errors are dropped here: they are for the log. */
export const problemOf = (error: unknown, requestId: string): Problem => {
  const code: ErrorCode = error instanceof FleetError ? error.code : 'internal'
  const { status, title } = PROBLEMS[code]
  return {
    type: `urn:sallyport:problem:${code}`,
    title,
    status,
    ...(error instanceof FleetError ? { detail: error.detail } : {}),
    reason: code,
    request_id: requestId,
  }
}
