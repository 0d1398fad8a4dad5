/**
 * What a device asks of a server's certificate beyond its chain, which is OpenSSL's: that it is for the host that was meant, and that it is
 * valid by the device's own clock.
 */

import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'

/** RFC 9525: only the subjectAltName counts, never the common name, and `*` only as a whole label. */
const STRICT = { subject: 'never', partialWildcards: false } as const

/** @param host an IP address is looked for among the addresses only. undefined: it is for that host */
export const whyNotFor = (host: string, certificate: X509Certificate | undefined): Error | undefined => {
  const found = isIP(host) ? certificate?.checkIP(host) : certificate?.checkHost(host, STRICT)
  return found === undefined ? new Error(`the server's certificate is not for ${host}`) : undefined
}

/** certificates; a chain that refers to itself has no end */
const MOST = 8

/** Of the leaf and of the issuers that came with it. @param now ms since the epoch */
export const whyNotValidAt = (now: number, leaf: X509Certificate | undefined): string | undefined => {
  let certificate = leaf
  for (let depth = 0; certificate !== undefined && depth < MOST; depth++) {
    if (now < certificate.validFromDate.getTime())
      return 'by its own clock the server certificate is not valid yet'
    if (now > certificate.validToDate.getTime()) return 'by its own clock the server certificate has expired'
    certificate = certificate.issuerCertificate
  }
  return undefined
}
