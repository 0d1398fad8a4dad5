/**
 * The header that the origin gets: what the client said and may say, and what the gateway says about the client. Nothing a client
 * sends arrives as if the gateway had said it: see spoofs.ts. Not the forms a certificate is told in: certificate-headers.ts.
 */

import type { Forward } from '#fleet/access.ts'
import { addCertificate, type Presented } from './certificate-headers.ts'
import type { Envelope } from './envelope.ts'
import { endsAtThisHop, isClientSpoof, withoutSessionCookie } from './spoofs.ts'

export type Said = {
  /** undefined: whoever it is was let in without a look at who it is */
  readonly assertion: string | undefined
  /** undefined: there is no certificate, or this request does not tell it */
  readonly certificate: Presented | undefined
  readonly forms: readonly Forward[]
  readonly address: string
}

/** @returns name, value, name, value, …; Content-Length among them when the client sent one */
export const requestHeaders = (rawHeaders: readonly string[], envelope: Envelope, said: Said): string[] => {
  const headers = [
    // the name that was judged: what a client adds to it, a dot at the end, is for nobody
    'Host',
    envelope.authority,
    'X-Forwarded-For',
    said.address,
    'X-Forwarded-Proto',
    'https',
    'X-Forwarded-Host',
    envelope.authority,
  ]
  if (said.assertion !== undefined) headers.push('Cf-Access-Jwt-Assertion', said.assertion)
  if (said.certificate !== undefined) addCertificate(headers, said.forms, said.certificate)

  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const value = rawHeaders[at + 1] as string
    const lower = name.toLowerCase()
    if (lower === 'content-length') {
      // the body's length is this hop's to say, whatever Connection claims
      headers.push(name, value)
      continue
    }
    if (
      lower === 'host' ||
      lower === 'expect' ||
      endsAtThisHop(lower, envelope.connection) ||
      isClientSpoof(lower)
    )
      continue
    if (lower === 'cookie') {
      const kept = withoutSessionCookie(value)
      if (kept !== undefined) headers.push(name, kept)
      continue
    }
    headers.push(name, value)
  }
  return headers
}
