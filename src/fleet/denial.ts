/**
 * Why a door said no: a closed set, the same word in the log, the metric, the reply and docs/admission.md.
 * Not errors: a denial is a verdict. Broken machinery is a {@link FleetError}.
 */

export const DENIALS = [
  'certificate_required',
  'certificate_untrusted',
  'certificate_expired',
  'certificate_not_yet_valid',
  'certificate_wrong_purpose',
  'certificate_weak_key',
  'certificate_revoked',
  'revocation_unknown',
  'certificate_unknown',
  'issuer_revoked',
  'device_suspended',
  'device_retired',
  'policy_denied',
  'origin_denied',
  'no_application',
  'host_mismatch',
  'bad_target',
  'session_resumed',
  'handshake_not_fresh',
  'session_expired',
  'token_invalid',
  'token_binding_mismatch',
  'client_id_mismatch',
  'topic_denied',
  'rate_limited',
  'registry_unavailable',
] as const
export type Denial = (typeof DENIALS)[number]
