/**
 * One error class with a closed set of codes. The outside sees a code through #wire/problems.ts and nowhere else.
 * `detail` is for the client and must hold no secret; `cause` is for the log only.
 */

import { DENIALS, type Denial } from './denial.ts'

const OTHER_CODES = [
  // what a client sent
  'bad_request',
  'bad_csr',
  'csr_signature_invalid',
  'weak_key',
  'key_in_use',
  'key_compromised',
  'device_id_invalid',
  'device_id_mismatch',
  'device_exists',
  'device_revoked',
  'device_not_registered',
  'certificate_pending',
  'clone_suspected',
  'group_disabled',
  'credential_not_allowed',
  'key_kind_not_allowed',
  'enrollment_denied',
  'quota_exceeded',
  'credential_required',
  'token_expired',
  'token_spent',
  'token_revoked',
  'forbidden',
  'not_found',
  'method_not_allowed',
  'conflict',
  'in_use',
  'precondition_failed',
  'idempotency_mismatch',
  'unsupported',
  'unsupported_media_type',
  'upgrade_required',
  'request_timeout',
  'body_too_large',
  'headers_too_large',
  'expectation_failed',
  // what is broken here
  'origin_unreachable',
  'origin_timeout',
  'webhook_unavailable',
  'clock_behind',
  'issuer_unusable',
  'internal',
  // what stops a process or a command
  'config_invalid',
  'target_unreachable',
  'expectation_broken',
] as const

export const ERROR_CODES = [...DENIALS, ...OTHER_CODES] as const
export type ErrorCode = Denial | (typeof OTHER_CODES)[number]

export class FleetError extends Error {
  override readonly name = 'FleetError'
  readonly code: ErrorCode
  readonly detail: string
  /** seconds, for Retry-After */
  readonly retryAfter: number | undefined
  /** methods, for Allow (RFC 9110 §15.5.6) */
  readonly allow: readonly string[] | undefined

  constructor(
    code: ErrorCode,
    detail: string,
    options: { cause?: unknown; retryAfter?: number; allow?: readonly string[] } = {},
  ) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.detail = detail
    this.retryAfter = options.retryAfter
    this.allow = options.allow
  }
}
