/** The assertion of one request: who it is, as an origin reads it. Not its signature: ../assertion.ts. */

import type { IncomingMessage } from 'node:http'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Allowed, Identity } from '#policy/decision.ts'
import type { Target } from '#policy/target.ts'
import type { AssertionClaims, Assertions } from '../assertion.ts'
import { ownerOf } from '../owner.ts'
import type { Envelope } from './envelope.ts'

type Names = Pick<AssertionClaims, 'commonName' | 'deviceId' | 'anchor' | 'serviceTokenId'>

/** undefined: nobody was asked who it is. */
const namesOf = (identity: Identity, request: IncomingMessage): Names | undefined => {
  if (identity.kind !== 'service') return ownerOf(identity)
  // the Client ID, as at Cloudflare; admission has found the field good
  const commonName = String(request.headers['cf-access-client-id'])
  return { commonName, deviceId: undefined, anchor: undefined, serviceTokenId: identity.id }
}

/**
 * @param o.leaf what it is bound to; undefined: no certificate came with the handshake
 * @param o.life ms
 * @returns '' where nobody was asked who he is; undefined: there is no key yet
 */
export const assertionFor = (
  { mint }: Assertions,
  o: {
    readonly decision: Allowed
    readonly request: IncomingMessage
    readonly leaf: CertificateFacts | undefined
    readonly envelope: Envelope
    readonly target: Target
    readonly life: number
  },
): string | undefined => {
  const { identity, application, notAfter } = o.decision
  const names = namesOf(identity, o.request)
  if (names === undefined) return ''
  return mint({
    ...names,
    hostname: o.envelope.host,
    applicationId: application.id,
    fingerprint: o.leaf?.fingerprint,
    notAfter,
    method: o.request.method ?? '',
    uri: `https://${o.envelope.authority}${o.target.path}`,
    life: o.life,
  })
}
