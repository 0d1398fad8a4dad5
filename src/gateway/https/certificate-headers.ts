/**
 * How an origin is told whose certificate came with the handshake: the forms an application may ask for, each under its own names. What they
 * say was verified and judged before; without a certificate there is nothing to say. Not the rest of the header: request-headers.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Forward } from '#fleet/access.ts'
import { xfccOf } from './xfcc.ts'

/** RFC 9440 fields are left out when they are longer, as Cloudflare does. */
const MAX_LEAF = 10 * 1_024
const MAX_CHAIN = 16 * 1_024

export type Presented = {
  readonly leaf: CertificateFacts
  /** DER, verified, without the root */
  readonly above: readonly Uint8Array[]
  /** lower case, no port: who says so */
  readonly host: string
}

type Writer = (headers: string[], presented: Presented) => void

const base64 = (der: Uint8Array): string =>
  Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64')

/** A device comes back with the same certificate, and its facts are remembered (#runtime/peer.ts). */
const encoded = new WeakMap<CertificateFacts, string>()

const leafText = (leaf: CertificateFacts): string => {
  const known = encoded.get(leaf)
  if (known !== undefined) return known
  const text = base64(leaf.der)
  encoded.set(leaf, text)
  return text
}

/** RFC 8941 §3.3.5: a byte sequence */
const byteSequence = (text: string): string => `:${text}:`

const WRITERS: Readonly<Record<Forward, Writer>> = {
  cloudflare: (headers, { leaf }) => {
    headers.push('Cf-Client-Cert-Der-Base64', leafText(leaf), 'Cf-Client-Cert-Sha256', leaf.fingerprint)
  },
  rfc9440: (headers, { leaf, above }) => {
    const text = leafText(leaf)
    if (text.length + 2 <= MAX_LEAF) headers.push('Client-Cert', byteSequence(text))
    if (above.length === 0) return
    const chain = above.map((der) => byteSequence(base64(der))).join(', ')
    if (chain.length <= MAX_CHAIN) headers.push('Client-Cert-Chain', chain)
  },
  xfcc: (headers, { leaf, above, host }) => {
    headers.push('X-Forwarded-Client-Cert', xfccOf({ by: `https://${host}`, leaf, above }))
  },
}

/** Does one of these forms hold the chain? */
export const tellsChain = (forms: readonly Forward[]): boolean =>
  forms.includes('rfc9440') || forms.includes('xfcc')

/** Puts name, value, … behind what is in `headers`. */
export const addCertificate = (headers: string[], forms: readonly Forward[], presented: Presented): void => {
  for (const form of forms) WRITERS[form](headers, presented)
}
