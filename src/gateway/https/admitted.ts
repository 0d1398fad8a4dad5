/**
 * A request that was admitted: assertion, origin, answer, and the second look when something changes meanwhile. Not who is
 * admitted: exchange.ts asked.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { nameOf } from '#policy/admission.ts'
import type { Ask, Decision } from '#policy/decision.ts'
import type { Target } from '#policy/target.ts'
import type { Admission } from '../admission.ts'
import type { Anchors } from '../anchors.ts'
import type { Assertions } from '../assertion.ts'
import type { Live } from '../live.ts'
import { denialError } from './details.ts'
import { isForwardedMethod, type Envelope } from './envelope.ts'
import { forward } from './forward.ts'
import type { Origins } from './origins.ts'
import { requestHeaders } from './request-headers.ts'
import type { Shares } from './shares.ts'

export type AdmittedDeps = {
  readonly admission: Admission
  readonly anchors: Anchors
  readonly assertions: Assertions
  readonly live: Live
  readonly origins: Origins
  readonly shares: Shares
  readonly bodyLimit: number
  /** octets of a body that a client sends, at least, per `originTimeout` */
  readonly bodyLeast: number
  readonly originTimeout: number
  readonly sighting: (fingerprint: string) => void
}

/** What the Expect field asked for. */
export type Expectation = 'none' | 'continue' | 'unknown'

export type AdmittedRequest = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly expectation: Expectation
  readonly requestId: string
  readonly peer: Peer
  readonly leaf: CertificateFacts
  readonly ask: Ask
  readonly envelope: Envelope
  readonly target: Target
  readonly decision: Extract<Decision, { allow: true }>
  /** tells the client, when it can still be told */
  readonly refuse: (error: FleetError) => void
  /** the same, with a line in the log */
  readonly fail: (error: FleetError) => void
}

/** A request at its origin. */
export type Exchange = {
  /** ms. From then on even a running answer is judged again. */
  readonly notAfter: number
  recheck(): void
  /** What follows on the connection cannot be read. Of no interest unless it is the rest of this very request. */
  broken(error: FleetError): void
}

/** Told only after admission, so that a stranger hears first that he is one. undefined: it may go to the origin. */
const refusalOf = (
  { request, envelope, expectation }: AdmittedRequest,
  bodyLimit: number,
): FleetError | undefined => {
  if (!isForwardedMethod(request.method ?? ''))
    return new FleetError('method_not_allowed', 'this method goes to no origin')
  // RFC 9110 §7.8 lets a server ignore Upgrade, but a client that asked for a WebSocket is better told
  if (envelope.connection.has('upgrade') && request.headers.upgrade !== undefined)
    return new FleetError('unsupported', 'Upgrade is not supported through this door')
  if (expectation === 'unknown') return new FleetError('expectation_failed', 'only 100-continue can be met')
  if (envelope.length !== undefined && envelope.length > bodyLimit)
    return new FleetError('body_too_large', `the body is longer than ${bodyLimit} bytes`)
  return undefined
}

const assertionFor = (
  assertions: Assertions,
  { request, envelope, target, leaf, decision: { identity, application, notAfter } }: AdmittedRequest,
): string | undefined =>
  assertions.mint({
    hostname: envelope.host,
    applicationId: application.id,
    commonName: identity.kind === 'device' ? identity.id : identity.name,
    deviceId: identity.kind === 'device' ? identity.id : undefined,
    anchor: identity.kind === 'device' ? undefined : identity.anchor,
    fingerprint: leaf.fingerprint,
    notAfter,
    method: request.method ?? '',
    uri: `https://${envelope.authority}${target.path}`,
  })

/** @returns undefined when it is over already */
export const serveAdmitted = (deps: AdmittedDeps, admitted: AdmittedRequest): Exchange | undefined => {
  const { request, response, peer, leaf, ask, envelope, target, decision, fail } = admitted
  const refusal = refusalOf(admitted, deps.bodyLimit)
  if (refusal !== undefined) {
    fail(refusal)
    return undefined
  }
  const share = deps.shares.take(nameOf(decision.identity))
  if (share === undefined) {
    fail(new FleetError('rate_limited', 'this identity has too many requests under way'))
    return undefined
  }
  response.once('close', () => {
    share[Symbol.dispose]()
  })
  const assertion = assertionFor(deps.assertions, admitted)
  if (assertion === undefined) {
    fail(new FleetError('registry_unavailable', 'there is no assertion key yet'))
    return undefined
  }
  const deviceId = decision.identity.kind === 'device' ? decision.identity.id : undefined
  // what admission has let in, and nobody else: it confirms a certificate that waits for that
  if (deviceId !== undefined) deps.sighting(leaf.fingerprint)
  if (admitted.expectation === 'continue') response.writeContinue()

  const forwarded = forward({
    request,
    response,
    origin: deps.origins.find(decision.application.https?.origin ?? ''),
    target: target.target,
    headers: requestHeaders(request.rawHeaders, envelope, {
      assertion,
      leaf,
      above: deps.anchors.chainAbove(peer, envelope.host),
      address: peer.address,
    }),
    hasBody: envelope.hasBody,
    bodyLimit: deps.bodyLimit,
    bodyLeast: deps.bodyLeast,
    timeout: deps.originTimeout,
    onFailure: fail,
  })
  const recheck = (): void => {
    const again = deps.admission.judge(peer, ask)
    if (again.allow) return
    deps.admission.record(peer, ask, again, admitted.requestId)
    forwarded.abort()
    admitted.refuse(denialError(again.reason))
  }
  // draining: it may finish, the door waits for it
  const entry = deps.live.add({ deviceId, recheck, drain: () => {} })
  response.once('close', () => {
    entry[Symbol.dispose]()
  })
  return {
    notAfter: decision.notAfter,
    recheck,
    broken: (error) => {
      if (request.complete) return
      forwarded.abort()
      fail(error)
    },
  }
}
