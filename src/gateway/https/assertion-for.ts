/** The assertion of one request: who it is, as an origin reads it. Not its signature: ../assertion.ts. */

import type { IncomingMessage } from 'node:http'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Decision, Identity } from '#policy/decision.ts'
import type { Target } from '#policy/target.ts'
import type { AssertionClaims, Assertions } from '../assertion.ts'
import type { Envelope } from './envelope.ts'

type Names = Pick<AssertionClaims, 'commonName' | 'deviceId' | 'anchor' | 'serviceTokenId'>

const namesOf = (identity: Exclude<Identity, { kind: 'none' }>, request: IncomingMessage): Names => {
  switch (identity.kind) {
    case 'device':
      return { commonName: identity.id, deviceId: identity.id, anchor: undefined }
    case 'foreign':
      return { commonName: identity.name, deviceId: undefined, anchor: identity.anchor }
    case 'service':
      return {
        // the Client ID, as at Cloudflare; admission has found the field good
        commonName: String(request.headers['cf-access-client-id']),
        deviceId: undefined,
        anchor: undefined,
        serviceTokenId: identity.id,
      }
  }
}

/**
 * @param o.leaf what it is bound to; undefined: no certificate came with the handshake
 * @param o.life ms
 * @returns '' where nobody was asked who he is; undefined: there is no key yet
 */
export const assertionFor = (
  assertions: Assertions,
  o: {
    readonly decision: Extract<Decision, { allow: true }>
    readonly request: IncomingMessage
    readonly leaf: CertificateFacts | undefined
    readonly envelope: Envelope
    readonly target: Target
    readonly life: number
  },
): string | undefined => {
  const { identity, application, notAfter } = o.decision
  if (identity.kind === 'none') return ''
  return assertions.mint({
    ...namesOf(identity, o.request),
    hostname: o.envelope.host,
    applicationId: application.id,
    fingerprint: o.leaf?.fingerprint,
    notAfter,
    method: o.request.method ?? '',
    uri: `https://${o.envelope.authority}${o.target.path}`,
    life: o.life,
  })
}
