/** What to do about each denial, for whoever reads the problem document. Its title says what it is; this says what helps. */

import type { Denial } from '#fleet/denial.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Canonical } from '#policy/target.ts'

const DETAILS: Readonly<Record<Denial, string>> = {
  certificate_required: 'Present a client certificate that was issued for this host, in the TLS handshake.',
  certificate_untrusted: 'No anchor of this host vouches for the certificate. Send its intermediates along.',
  certificate_expired: 'Enrol again: an expired certificate cannot be renewed here.',
  certificate_not_yet_valid: "Check the device's clock, or wait.",
  certificate_wrong_purpose: 'It must be an end-entity certificate with extended key usage clientAuth.',
  certificate_weak_key: 'Use P-256, P-384, P-521, Ed25519 or RSA of 2048 bits, signed with SHA-2.',
  certificate_revoked: 'Enrol again with a new token bound to the device.',
  revocation_unknown: 'Try again later: whether this certificate is revoked cannot be told now.',
  certificate_unknown: 'Enrol again: this certificate is not in the registry.',
  issuer_revoked: 'Enrol again with the current issuer.',
  device_suspended: 'Ask an operator to resume the device.',
  device_retired: 'A retired device does not come back.',
  policy_denied: 'The certificate is good; no policy of the application lets it in.',
  origin_denied: 'Ask an administrator to list this Origin.',
  no_application: 'Check the host name and the path.',
  host_mismatch: 'Send SNI, and the same name in Host.',
  bad_target: 'Send the path without dot segments, double slashes, encoded slashes and backslashes.',
  session_resumed: 'Connect again with a full TLS handshake.',
  handshake_not_fresh: 'Ask again on a new connection.',
  session_expired: 'Start a new session.',
  token_invalid: 'Present a valid token.',
  token_binding_mismatch: 'Use the certificate that the token was made for.',
  client_id_mismatch: 'Connect with the device id as ClientID.',
  topic_denied: 'Ask for a topic of this device.',
  rate_limited: 'Wait, then try again.',
  registry_unavailable: 'Try again in a moment.',
}

/** @param target what was wrong with it is said of a bad one */
export const denialError = (reason: Denial, target?: Canonical): FleetError =>
  new FleetError(reason, reason === 'bad_target' && target?.ok === false ? target.problem : DETAILS[reason])
