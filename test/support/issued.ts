/** What a desk said, read as its clients read it: certificates out of REST and EST answers, reasons out of refusals. */

import { createHash, X509Certificate } from 'node:crypto'
import { childrenOf, constructedTag, derOf, readDer, TAG } from '#pki/der.ts'

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The certificate in an answer of /v1/enroll or /v1/renew. */
export const certificateOfRest = (body: string): Uint8Array =>
  new X509Certificate((JSON.parse(body) as { certificate: string }).certificate).raw

/** The one certificate of a certs-only PKCS #7 (RFC 7030 §4.2.3), base64. */
export const certificateOfEst = (body: string): Uint8Array => {
  const [, content] = childrenOf(readDer(Buffer.from(body, 'base64'), 'PKCS #7'), TAG.sequence, 'PKCS #7')
  const [signed] = childrenOf(content, constructedTag(0), 'content')
  const certificates = childrenOf(signed, TAG.sequence, 'SignedData')[3]
  const [first, ...more] = childrenOf(certificates, constructedTag(0), 'certificates')
  if (first === undefined || more.length > 0) throw new Error('not exactly one certificate')
  return derOf(first)
}

/** Of a problem document, or of EST's line of text. */
export const reasonIn = (body: string): string | undefined =>
  /"reason":"(\w+)"/.exec(body)?.[1] ?? /\((\w+), request /.exec(body)?.[1]
