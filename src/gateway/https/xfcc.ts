/**
 * X-Forwarded-Client-Cert as Envoy writes it: `By=…;Hash=…;Cert="…";Chain="…";Subject="…";URI=…;DNS=…`. One element: what came from the
 * client is gone by then. Envoy puts a backslash before a quote within a value, and its readers disagree about a backslash before that;
 * here no value holds either, so that no certificate can write a field of its own (docs/origins.md).
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { distinguishedName } from '#pki/distinguished-name.ts'
import { toPem } from '#pki/pem.ts'

/** In any form a certificate is left out when it is longer, and so is a chain, as Cloudflare does. */
export const MAX_LEAF = 10 * 1_024
export const MAX_CHAIN = 16 * 1_024
const MAX_SUBJECT = 4 * 1_024
const MAX_NAMES = 16

const DNS_NAME = /^[A-Za-z0-9*_](?:[A-Za-z0-9*_.-]{0,252}[A-Za-z0-9*_])?$/

/** A URI has no use for these (RFC 3986 §2), so their escapes name the same thing. */
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '%22',
  '\\': '%5C',
  ' ': '%20',
  '<': '%3C',
  '>': '%3E',
}

const uriValue = (uri: string): string => {
  const text = uri.replace(/["\\ <>]/g, (character) => ESCAPES[character] as string)
  return /[,;=]/.test(text) ? `"${text}"` : text
}

const encoded = (ders: readonly Uint8Array[]): string =>
  encodeURIComponent(ders.map((der) => toPem('CERTIFICATE', der)).join(''))

const subjectOf = (leaf: CertificateFacts): string => {
  try {
    const subject = distinguishedName(leaf.subjectDer)
    return subject.length <= MAX_SUBJECT ? subject : ''
  } catch {
    // more than we read; empty is Envoy's word for none
    return ''
  }
}

/**
 * @param o.by who says so: `https://<hostname>`, the assertion's issuer
 * @param o.above DER, verified, without the root
 * @param o.room octets. What does not fit is left out, Chain first, then Cert; By and Hash are always there.
 */
export const xfccOf = (o: {
  readonly by: string
  readonly leaf: CertificateFacts
  readonly above: readonly Uint8Array[]
  readonly room: number
}): string => {
  const { leaf } = o
  let { room } = o
  const fitting = (field: string): string[] => {
    if (field.length + 1 > room) return []
    room -= field.length + 1
    return [field]
  }
  const whose = [`By=${o.by}`, `Hash=${leaf.fingerprint}`]
  room -= whose.join(';').length
  const subject = fitting(`Subject="${subjectOf(leaf)}"`)
  const uris = leaf.sanUris.slice(0, MAX_NAMES).map((uri) => `URI=${uriValue(uri)}`)
  const dns = leaf.sanDns.slice(0, MAX_NAMES).filter((name) => DNS_NAME.test(name))
  const names = [...uris, ...dns.map((name) => `DNS=${name}`)].flatMap(fitting)
  const cert = encoded([leaf.der])
  const chain = encoded([leaf.der, ...o.above])
  const certs = cert.length <= MAX_LEAF ? fitting(`Cert="${cert}"`) : []
  if (chain.length <= MAX_CHAIN) certs.push(...fitting(`Chain="${chain}"`))
  return [...whose, ...certs, ...subject, ...names].join(';')
}
