/** OCSP answers as a reader takes them apart, signature included. For tests; strict about what RFC 6960 says, and nothing else. */

import { verify, X509Certificate } from 'node:crypto'
import {
  childrenOf,
  constructedTag,
  contentOf,
  derOf,
  octetsOfBits,
  oidOf,
  readDer,
  TAG,
  tagOf,
} from '#pki/der.ts'
import { OID } from '#pki/oids.ts'

export type OcspSaid = {
  /** OCSPResponseStatus: 0 is successful */
  readonly status: number
  /** by serial, hex: `good`, `unknown`, or `revoked <reason code>` (0 when none is said) */
  readonly serials: Readonly<Record<string, string>>
  readonly nonce: string | undefined
  readonly responder: X509Certificate | undefined
  /** the answer is signed by `responder` */
  readonly signed: boolean
  readonly times: readonly string[]
}

const WHAT = 'OCSP response'

const statusText = (node: Parameters<typeof derOf>[0]): string => {
  const tag = tagOf(node)
  if (tag === 0x80) return 'good'
  if (tag === 0x82) return 'unknown'
  const [, tagged] = childrenOf(node, constructedTag(1), WHAT)
  if (tagged === undefined) return 'revoked 0'
  const [reason] = childrenOf(tagged, constructedTag(0), WHAT)
  return `revoked ${contentOf(reason, TAG.enumerated, WHAT)[0]}`
}

export const readOcspResponse = (der: Uint8Array): OcspSaid => {
  const [statusNode, bytes] = childrenOf(readDer(der, WHAT), TAG.sequence, WHAT, { min: 1, max: 2 })
  const status = contentOf(statusNode, TAG.enumerated, WHAT)[0] as number
  if (bytes === undefined)
    return { status, serials: {}, nonce: undefined, responder: undefined, signed: false, times: [] }
  const [wrapped] = childrenOf(bytes, constructedTag(0), WHAT)
  const [type, octets] = childrenOf(wrapped, TAG.sequence, WHAT)
  if (oidOf(type, WHAT) !== OID.ocspBasic) throw new Error('not a basic response')
  const [data, , signature, certificates] = childrenOf(
    readDer(contentOf(octets, TAG.octetString, WHAT), WHAT),
    TAG.sequence,
    WHAT,
    { min: 4, max: 4 },
  )
  const [list] = childrenOf(certificates, constructedTag(0), WHAT)
  const [certificate] = childrenOf(list, TAG.sequence, WHAT, { min: 1, max: 1 })
  const responder = new X509Certificate(derOf(certificate as never))
  const dataDer = derOf(data as never)
  const [, , responses, extensions] = childrenOf(data, TAG.sequence, WHAT, { min: 3, max: 4 })
  const serials = childrenOf(responses, TAG.sequence, WHAT).map((single) => {
    const [certId, said] = childrenOf(single, TAG.sequence, WHAT)
    const serial = contentOf(childrenOf(certId, TAG.sequence, WHAT)[3], TAG.integer, WHAT).toString('hex')
    return [serial, statusText(said as never)] as const
  })
  return {
    status,
    serials: Object.fromEntries(serials),
    nonce: extensions === undefined ? undefined : derOf(extensions).toString('hex'),
    responder,
    signed: verify('sha256', dataDer, responder.publicKey, octetsOfBits(signature, WHAT)),
    times: dataDer.toString('latin1').match(/\d{14}Z/g) ?? [],
  }
}
