/** A PKCS #10 certification request (RFC 2986 §4): subject CN, no attributes, signed by the key it is for. */

import { createPrivateKey, createPublicKey } from 'node:crypto'
import { commonName, embed, explicit, integer, pem, sequence, signed } from './der.ts'

const VERSION_1 = integer(Buffer.of(0))

/** @param keyPem PKCS #8. @returns DER */
export const makeCsrDer = (keyPem: string, name: string): Buffer => {
  const key = createPrivateKey(keyPem)
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  // attributes [0] is not OPTIONAL: an empty set is still written (RFC 2986 §4.1)
  const info = sequence(VERSION_1, commonName(name), embed(spki), explicit(0))
  return signed(info, key)
}

/** @param keyPem PKCS #8. @returns PEM */
export const makeCsr = (keyPem: string, name: string): string =>
  pem('CERTIFICATE REQUEST', makeCsrDer(keyPem, name))
