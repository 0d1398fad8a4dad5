/**
 * What helps against each denial: in one table, so that programs and people are told the same, each in their words. What has happened is the
 * problem's title (#wire/problems.ts) and the page's heading (page-words.ts).
 */

import type { Denial } from '#fleet/denial.ts'

/** `program`: for whoever reads the problem document. `person`: for whoever sits in front of a browser. */
export type Advice = { readonly program: string; readonly person: string }

const NEW_CERTIFICATE = 'Ask your administrator for a new certificate, or enrol this device again.'
const ANOTHER_CERTIFICATE =
  'Close all windows of the browser and choose another certificate, or ask your administrator which one belongs here.'
const RECONNECT = 'Load the page again. If it lasts, close the browser and open it again.'
const NEW_SESSION = 'Load the page again to begin a new session.'
export const SOON = 'Try again in a moment. If it lasts, tell your administrator.'

export const ADVICE: Readonly<Record<Denial, Advice>> = {
  certificate_required: {
    program: 'Present a client certificate that was issued for this host, in the TLS handshake.',
    person:
      'Install the certificate that you were given in your browser or operating system, close all windows of the browser, and choose the certificate when you are asked.',
  },
  certificate_untrusted: {
    program: 'No anchor of this host vouches for the certificate. Send its intermediates along.',
    person: ANOTHER_CERTIFICATE,
  },
  certificate_expired: {
    program: 'Enrol again: an expired certificate cannot be renewed here.',
    person: NEW_CERTIFICATE,
  },
  certificate_not_yet_valid: {
    program: "Check the device's clock, or wait.",
    person: 'Check the date and time of this device. If they are right, wait until the certificate begins.',
  },
  certificate_wrong_purpose: {
    program: 'It must be an end-entity certificate with extended key usage clientAuth.',
    person: ANOTHER_CERTIFICATE,
  },
  certificate_weak_key: {
    program: 'Use P-256, P-384, P-521, Ed25519 or RSA of 2048 bits, signed with SHA-2.',
    person: NEW_CERTIFICATE,
  },
  certificate_revoked: {
    program: 'Enrol again with a new token bound to the device.',
    person: NEW_CERTIFICATE,
  },
  revocation_unknown: {
    program: 'Try again later: whether this certificate is revoked cannot be told now.',
    person: SOON,
  },
  certificate_unknown: {
    program: 'Enrol again: this certificate is not in the registry.',
    person: NEW_CERTIFICATE,
  },
  issuer_revoked: { program: 'Enrol again with the current issuer.', person: NEW_CERTIFICATE },
  device_suspended: {
    program: 'Ask an operator to resume the device.',
    person: 'Ask your administrator to resume this device.',
  },
  device_retired: {
    program: 'A retired device does not come back.',
    person: 'This device has been taken out of use. Ask your administrator.',
  },
  policy_denied: {
    program: 'The certificate is good; no policy of the application lets it in.',
    person: 'You are known here, but nothing allows you in. Ask your administrator for access.',
  },
  origin_denied: {
    program: 'Ask an administrator to list this Origin.',
    person: 'Open the application itself, not through a page of another site.',
  },
  no_application: { program: 'Check the host name and the path.', person: 'Check the address.' },
  host_mismatch: {
    program: 'Send SNI, and the same name in Host.',
    person: 'Check the address, then load the page again.',
  },
  bad_target: {
    program: 'Send the path without dot segments, double slashes, encoded slashes and backslashes.',
    person: 'Check the address.',
  },
  session_resumed: { program: 'Connect again with a full TLS handshake.', person: RECONNECT },
  handshake_not_fresh: { program: 'Ask again on a new connection.', person: RECONNECT },
  session_expired: { program: 'Begin a new session, on a new connection.', person: NEW_SESSION },
  token_invalid: { program: 'Come with a valid token, or without one.', person: NEW_SESSION },
  token_binding_mismatch: {
    program: 'Use the certificate that the token was made for, or come without the token.',
    person: NEW_SESSION,
  },
  client_id_mismatch: {
    program: 'Connect with the device id as ClientID.',
    person: 'Ask your administrator for the ClientID of this device.',
  },
  topic_denied: {
    program: 'Ask for a topic of this device.',
    person: 'Ask your administrator which topics are open to you.',
  },
  rate_limited: { program: 'Wait, then try again.', person: 'Wait a minute, then try again.' },
  registry_unavailable: { program: 'Try again in a moment.', person: SOON },
}
