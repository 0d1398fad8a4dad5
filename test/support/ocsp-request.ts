/** OCSP requests for tests, good and odd ones, written apart from src/pki/ocsp.ts. */

import { createHash } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { childrenOf, constructedTag, oidDer, octetsOfBits, readDer, TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'

export type OcspAsk = {
  readonly issuer: Pick<CertificateFacts, 'der' | 'subjectDer'>
  /** content octets, hex, as they are to stand there */
  readonly serials: readonly string[]
  readonly hash?: 'sha1' | 'sha256'
  /** NULL parameters of the hash; default true */
  readonly parameters?: boolean
  readonly algorithmDer?: Buffer
  readonly nameHash?: Buffer
  readonly nonce?: Buffer
  readonly extensions?: readonly Buffer[]
  readonly singleExtensions?: readonly Buffer[]
  /** in front of the list: version, requestor */
  readonly before?: readonly Buffer[]
  /** behind the request: a signature */
  readonly after?: readonly Buffer[]
}

const keyOf = (der: Uint8Array): Buffer => {
  const [tbs] = childrenOf(readDer(der, 'certificate'), TAG.sequence, 'certificate')
  const spki = childrenOf(tbs, TAG.sequence, 'certificate')[6]
  return octetsOfBits(childrenOf(spki, TAG.sequence, 'key')[1], 'key')
}

export const ocspRequest = (o: OcspAsk): Buffer => {
  const hash = o.hash ?? 'sha1'
  const digest = (octets: Uint8Array): Buffer => createHash(hash).update(octets).digest()
  const algorithm =
    o.algorithmDer ?? tlv(TAG.sequence, oidDer(OID[hash]), ...(o.parameters === false ? [] : [tlv(TAG.null)]))
  const [name, key] = [o.nameHash ?? digest(o.issuer.subjectDer), digest(keyOf(o.issuer.der))]
  const extensions = [
    ...(o.nonce === undefined ? [] : [extensionDer(OID.ocspNonce, false, tlv(TAG.octetString, o.nonce))]),
    ...(o.extensions ?? []),
  ]
  const explicit = (n: number, list: readonly Buffer[]): Buffer[] =>
    list.length === 0 ? [] : [tlv(constructedTag(n), tlv(TAG.sequence, ...list))]
  const single = (serial: string): Buffer =>
    tlv(
      TAG.sequence,
      tlv(
        TAG.sequence,
        algorithm,
        tlv(TAG.octetString, name),
        tlv(TAG.octetString, key),
        tlv(TAG.integer, Buffer.from(serial, 'hex')),
      ),
      ...explicit(0, o.singleExtensions ?? []),
    )
  const tbs = tlv(
    TAG.sequence,
    ...(o.before ?? []),
    tlv(TAG.sequence, ...o.serials.map(single)),
    ...explicit(2, extensions),
  )
  return tlv(TAG.sequence, tbs, ...(o.after ?? []))
}
