/**
 * How an origin is told whose certificate came with the handshake: the forms an application may ask for, each under its own names. What they
 * say was verified and judged before; without a certificate there is nothing to say. Not the rest of the header: request-headers.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Forward } from '#fleet/access.ts'
import { MAX_CHAIN, MAX_LEAF, xfccOf } from './xfcc.ts'

/** Of all forms together: one of the longest of each. Whoever asks for all three does not get it three times; what comes last is left out. */
const MAX_ALL = MAX_LEAF + MAX_CHAIN

export type Presented = {
  readonly leaf: CertificateFacts
  /** DER, verified, without the root */
  readonly above: readonly Uint8Array[]
  /** lower case, no port: who says so */
  readonly host: string
}

/** @param room octets that there are for it; the hash may be more @returns octets that it said */
type Writer = (headers: string[], presented: Presented, room: number) => number

const base64 = (der: Uint8Array): string =>
  Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64')

/** A device comes back with the same certificate, and its octets are remembered (#runtime/peer.ts); so are those of the CAs (anchors.ts). */
const encoded = new WeakMap<Uint8Array, string>()

const textOf = (der: Uint8Array): string => {
  const known = encoded.get(der)
  if (known !== undefined) return known
  const text = base64(der)
  encoded.set(der, text)
  return text
}

/** RFC 8941 §3.3.5: a byte sequence */
const byteSequence = (text: string): string => `:${text}:`

const WRITERS: Readonly<Record<Forward, Writer>> = {
  cloudflare: (headers, { leaf }, room) => {
    const text = textOf(leaf.der)
    const fits = text.length <= Math.min(room, MAX_LEAF)
    if (fits) headers.push('Cf-Client-Cert-Der-Base64', text)
    headers.push('Cf-Client-Cert-Sha256', leaf.fingerprint)
    return leaf.fingerprint.length + (fits ? text.length : 0)
  },
  rfc9440: (headers, { leaf, above }, room) => {
    const text = byteSequence(textOf(leaf.der))
    const fits = text.length <= Math.min(room, MAX_LEAF)
    if (fits) headers.push('Client-Cert', text)
    const said = fits ? text.length : 0
    if (above.length === 0) return said
    const chain = above.map((der) => byteSequence(textOf(der))).join(', ')
    if (chain.length > Math.min(room - said, MAX_CHAIN)) return said
    headers.push('Client-Cert-Chain', chain)
    return said + chain.length
  },
  xfcc: (headers, { leaf, above, host }, room) => {
    const value = xfccOf({ by: `https://${host}`, leaf, above, room })
    headers.push('X-Forwarded-Client-Cert', value)
    return value.length
  },
}

/** Does one of these forms hold the chain? */
export const tellsChain = (forms: readonly Forward[]): boolean =>
  forms.includes('rfc9440') || forms.includes('xfcc')

/** Puts name, value, … behind what is in `headers`. */
export const addCertificate = (headers: string[], forms: readonly Forward[], presented: Presented): void => {
  let room = MAX_ALL
  for (const form of forms) room -= WRITERS[form](headers, presented, room)
}
