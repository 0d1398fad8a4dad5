/** PEM (RFC 7468): text armour around DER. Reads strictly, bounded; knows nothing of what the DER holds. */

import { FleetError } from '#fleet/errors.ts'

const MAX_TEXT = 1_048_576
const MAX_BLOCKS = 100
const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,64})-----[\t ]*\r?\n([A-Za-z0-9+/=\r\n\t ]*)-----END \1-----/g

const LINE = 64

export const toPem = (label: string, der: Uint8Array): string => {
  const base64 = Buffer.from(der).toString('base64')
  let text = `-----BEGIN ${label}-----\n`
  for (let at = 0; at < base64.length; at += LINE) text += `${base64.slice(at, at + LINE)}\n`
  return `${text}-----END ${label}-----\n`
}

/**
 * Strict base64 (RFC 4648 §3.5: padded, no stray bits), white space allowed anywhere. Buffer.from alone skips what it does not know.
 * @returns undefined when it is not
 */
export const fromBase64 = (text: string): Buffer | undefined => {
  const packed = text.replaceAll(/[\r\n\t ]+/g, '')
  const octets = Buffer.from(packed, 'base64')
  return octets.toString('base64') === packed ? octets : undefined
}

/**
 * Every block of that label, in order; text between blocks and blocks of other labels are skipped (RFC 7468 §2).
 * @param maxText characters
 * @throws bad_request when there is none, too much, or base64 that is not
 */
export const fromPem = (text: string, label: string, maxText = MAX_TEXT): Uint8Array[] => {
  if (text.length > maxText) throw new FleetError('bad_request', `PEM: longer than ${maxText} characters`)
  const found: Uint8Array[] = []
  for (const [, name, body] of text.matchAll(BLOCK)) {
    if (name !== label) continue
    if (found.length === MAX_BLOCKS)
      throw new FleetError('bad_request', `PEM: more than ${MAX_BLOCKS} blocks`)
    const der = fromBase64(body as string)
    if (der === undefined || der.length === 0) throw new FleetError('bad_request', `PEM ${label}: not base64`)
    found.push(der)
  }
  if (found.length === 0) throw new FleetError('bad_request', `PEM: no ${label} block`)
  return found
}
