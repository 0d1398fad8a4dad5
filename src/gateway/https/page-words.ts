/** What a person in front of a browser is told: by status what has happened, by reason what to do. Not for programs: details.ts. */

import type { ErrorCode } from '#fleet/errors.ts'

/** What has happened; by the first digit where the status has no words of its own. */
const HEADINGS: Readonly<Record<number, string>> = {
  400: 'This request cannot be read',
  401: 'Your access has ended',
  403: 'Access denied',
  404: 'There is nothing here',
  405: 'This cannot be done here',
  408: 'That took too long',
  413: 'That is too large',
  421: 'This address does not fit the connection',
  422: 'This cannot be done here',
  429: 'Too many requests',
  500: 'Something is broken on our side',
  502: 'The application cannot be reached',
  503: 'Not available at the moment',
  504: 'The application did not answer in time',
}

const IMPORT_CERTIFICATE =
  'Install the certificate that you were given in your browser or operating system, close all windows of the browser, and choose the certificate when you are asked.'
const NEW_CERTIFICATE = 'Ask your administrator for a new certificate, or enrol this device again.'
const ANOTHER_CERTIFICATE =
  'Close all windows of the browser and choose another certificate, or ask your administrator which one belongs here.'
const SOON = 'Try again in a moment. If it lasts, tell your administrator.'
const RECONNECT = 'Load the page again. If it lasts, close the browser and open it again.'

const ADVICE: Readonly<Partial<Record<ErrorCode, string>>> = {
  certificate_required: IMPORT_CERTIFICATE,
  certificate_untrusted: ANOTHER_CERTIFICATE,
  certificate_expired: NEW_CERTIFICATE,
  certificate_not_yet_valid:
    'Check the date and time of this device. If they are right, wait until the certificate begins.',
  certificate_wrong_purpose: ANOTHER_CERTIFICATE,
  certificate_weak_key: NEW_CERTIFICATE,
  certificate_revoked: NEW_CERTIFICATE,
  revocation_unknown: SOON,
  certificate_unknown: NEW_CERTIFICATE,
  issuer_revoked: NEW_CERTIFICATE,
  device_suspended: 'Ask your administrator to resume this device.',
  device_retired: 'This device has been taken out of use. Ask your administrator.',
  policy_denied: 'You are known here, but nothing allows you in. Ask your administrator for access.',
  origin_denied: 'Open the application itself, not through a page of another site.',
  no_application: 'Check the address.',
  bad_target: 'Check the address.',
  host_mismatch: 'Check the address, then load the page again.',
  session_resumed: RECONNECT,
  handshake_not_fresh: RECONNECT,
  session_expired: 'Load the page again to begin a new session.',
  token_invalid: 'Load the page again to begin a new session.',
  token_binding_mismatch: RECONNECT,
  rate_limited: 'Wait a minute, then try again.',
}

const BY_KIND: Readonly<Record<number, string>> = {
  4: 'Go back and try again. If it lasts, tell your administrator.',
  5: SOON,
}

export type Words = { readonly heading: string; readonly advice: string }

export const wordsFor = (code: ErrorCode, status: number): Words => {
  const kind = status < 500 ? 4 : 5
  return {
    heading:
      HEADINGS[status] ?? (kind === 4 ? 'This cannot be done here' : 'Something is broken on our side'),
    advice: ADVICE[code] ?? (BY_KIND[kind] as string),
  }
}
