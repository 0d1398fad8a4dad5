/** The text of one CRL, as an API takes it and a server gives it → DER. Not what it says: #pki/crl-read.ts. */

import { FleetError } from '#fleet/errors.ts'
import { fromBase64, fromPem } from '#pki/pem.ts'

/** @param text PEM with one CRL, or base64 of its DER. @param maxText characters. @throws bad_request */
export const crlDerOf = (text: string, maxText?: number): Uint8Array => {
  if (!text.includes('-----BEGIN')) {
    const der = fromBase64(text)
    if (der === undefined) throw new FleetError('bad_request', 'crl: neither PEM nor base64')
    return der
  }
  const [der, ...more] = fromPem(text, 'X509 CRL', maxText)
  if (der === undefined || more.length > 0) throw new FleetError('bad_request', 'crl: send one CRL at a time')
  return der
}
