/**
 * The header that the origin gets: what the client said and may say, and what the gateway says about the client. Nothing a client
 * sends arrives as if the gateway had said it: see spoofs.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Envelope } from './envelope.ts'
import { endsAtThisHop, isClientSpoof, withoutSessionCookie } from './spoofs.ts'

/** RFC 9440 fields are left out when they are longer, as Cloudflare does. */
const MAX_LEAF = 10 * 1_024
const MAX_CHAIN = 16 * 1_024

export type Said = {
  readonly assertion: string
  readonly leaf: CertificateFacts
  /** DER, verified, without the root */
  readonly above: readonly Uint8Array[]
  readonly address: string
}

const base64 = (der: Uint8Array): string =>
  Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64')

/** RFC 8941 §3.3.5: a byte sequence */
const byteSequence = (text: string): string => `:${text}:`

/** @returns name, value, name, value, …; Content-Length among them when the client sent one */
export const requestHeaders = (rawHeaders: readonly string[], envelope: Envelope, said: Said): string[] => {
  const leaf = base64(said.leaf.der)
  const headers = [
    // the name that was judged: what a client adds to it, a dot at the end, is for nobody
    'Host',
    envelope.authority,
    'Cf-Access-Jwt-Assertion',
    said.assertion,
    'Cf-Client-Cert-Der-Base64',
    leaf,
    'Cf-Client-Cert-Sha256',
    said.leaf.fingerprint,
    'X-Forwarded-For',
    said.address,
    'X-Forwarded-Proto',
    'https',
    'X-Forwarded-Host',
    envelope.authority,
  ]
  if (leaf.length + 2 <= MAX_LEAF) headers.push('Client-Cert', byteSequence(leaf))
  if (said.above.length > 0) {
    const chain = said.above.map((der) => byteSequence(base64(der))).join(', ')
    if (chain.length <= MAX_CHAIN) headers.push('Client-Cert-Chain', chain)
  }

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
