/**
 * A request that was admitted: assertion, origin, answer, and its end when a second look (judging.ts) says no. Not who is admitted: exchange.ts
 * asked. Not the bytes of a WebSocket: tunnel.ts.
 */

import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { nameOf } from '#policy/admission.ts'
import { isForwardedMethod } from '#policy/forwarded.ts'
import type { Target } from '#policy/target.ts'
import type { Reported } from '../admission.ts'
import type { Anchors } from '../anchors.ts'
import type { Assertions } from '../assertion.ts'
import type { Live } from '../live.ts'
import { assertionFor } from './assertion-for.ts'
import type { Presented } from './certificate-headers.ts'
import type { Exchange } from './connection.ts'
import { denialError } from './details.ts'
import { forward } from './forward.ts'
import { judgeAgain, type Judged, type JudgingDeps } from './judging.ts'
import type { Origins } from './origins.ts'
import { headText } from './reply.ts'
import { requestHeaders } from './request-headers.ts'
import { responseHeaders } from './response-headers.ts'
import type { Route } from './routes.ts'
import { groupOf, shareIsTaken, type Shares } from './shares.ts'
import { becomeTunnel } from './tunnel.ts'
import { acceptsKey, webSocketKey } from './websocket.ts'

/** ms that an assertion is good for at least: it is written in whole seconds, and read by another clock. */
const LEAST_LIFE = 5 * SECOND
/** And at most: an origin reads it with the header, however long the answer may take. */
const MOST_LIFE = 60 * SECOND

export type AdmittedDeps = JudgingDeps & {
  readonly anchors: Anchors
  readonly assertions: Assertions
  readonly live: Live
  readonly origins: Origins
  readonly shares: Shares
  /** octets of a body that a client sends, at least, per timeout of the application */
  readonly bodyLeast: number
  readonly sighting: (fingerprint: string) => void
}

export type AdmittedRequest = Judged & {
  readonly requestId: string
  readonly target: Target
  readonly route: Route
  /** what was recorded of it */
  readonly reported: Reported
  /** Set-Cookie of a session that begins */
  readonly cookie: string | undefined
  /** under which name it has its share of the door */
  readonly shareName: string
  /** as {@link Refusals} have them: when it can still be told */
  readonly denied: (error: FleetError) => void
  readonly notServed: (error: FleetError) => void
}

/** Told only after admission, so that a stranger hears first that he is one. undefined: it may go to the origin. */
const refusalOf = ({ turn, envelope, route }: AdmittedRequest): FleetError | undefined => {
  const { request, expectation, early } = turn
  if (!isForwardedMethod(request.method ?? ''))
    return new FleetError('method_not_allowed', 'this method goes to no origin')
  // RFC 9110 §7.8 lets a server ignore Upgrade, but a client that asked for a WebSocket is better told
  if (envelope.connection.has('upgrade') && request.headers.upgrade !== undefined) {
    if (early === undefined || !route.websocket)
      return new FleetError('unsupported', 'Upgrade is not supported here')
    if (webSocketKey(request) === undefined)
      return new FleetError('bad_request', 'Sec-WebSocket-Key is missing, or not one')
  }
  if (expectation === 'unknown') return new FleetError('expectation_failed', 'only 100-continue can be met')
  if (envelope.length !== undefined && envelope.length > route.bodyLimit)
    return new FleetError('body_too_large', `the body is longer than ${route.bodyLimit} bytes`)
  return undefined
}

/** What is told of the certificate that came with the handshake; undefined: nothing, or not with this request. */
const presentedOf = (
  anchors: Anchors,
  { connection: { peer, before }, envelope: { host }, decision, route }: AdmittedRequest,
): Presented | undefined => {
  const { kind } = decision.identity
  if (peer.leaf === undefined || (kind !== 'device' && kind !== 'foreign')) return undefined
  if (route.forwardOn === 'first' && before > 0) return undefined
  return { leaf: peer.leaf, above: route.tellsChain ? anchors.chainAbove(peer, host) : [], host }
}

/** Was it judged by its certificate, and by nothing else? */
export const isCertificateOnly = ({ decision, turn }: AdmittedRequest): boolean =>
  decision.plan.duration === 0 &&
  decision.session === undefined &&
  (decision.identity.kind === 'device' || decision.identity.kind === 'foreign') &&
  turn.request.headers['cf-access-client-id'] === undefined

/** @returns undefined when it is over already */
export const serveAdmitted = (deps: AdmittedDeps, admitted: AdmittedRequest): Exchange | undefined => {
  const { connection, turn, ask, envelope, target, decision, route, cookie, notServed } = admitted
  const { request, response, early } = turn
  const { peer, socket } = connection
  const refusal = refusalOf(admitted)
  if (refusal !== undefined) {
    notServed(refusal)
    return undefined
  }
  const share = deps.shares.take(admitted.shareName, groupOf(decision.identity))
  if (share === undefined) {
    notServed(shareIsTaken())
    return undefined
  }
  const { leaf } = peer
  const life = Math.min(Math.max(route.timeout, LEAST_LIFE), MOST_LIFE)
  const assertion = assertionFor(deps.assertions, { decision, request, leaf, envelope, target, life })
  if (assertion === undefined) {
    share[Symbol.dispose]()
    notServed(new FleetError('registry_unavailable', 'there is no assertion key yet'))
    return undefined
  }
  const { identity } = decision
  const deviceId = identity.kind === 'device' ? identity.id : undefined
  // what admission has let in, and nobody else: it confirms a certificate that waits for that
  if (deviceId !== undefined && leaf !== undefined) deps.sighting(leaf.fingerprint)
  if (turn.expectation === 'continue') response.writeContinue()

  const forwarded = forward({
    request,
    response,
    origins: deps.origins,
    route,
    target: target.target,
    headers: requestHeaders(request.rawHeaders, envelope, {
      assertion: assertion === '' ? undefined : assertion,
      certificate: presentedOf(deps.anchors, admitted),
      forms: route.forms,
      address: peer.address,
    }),
    hasBody: envelope.hasBody,
    bodyLeast: deps.bodyLeast,
    headersFor: (status, headers) => responseHeaders(status, headers, connection.fate(request), cookie),
    onUpgrade:
      early === undefined
        ? undefined
        : (headers, origin) => {
            const head = headText(101, responseHeaders(101, headers, 'upgrade', cookie))
            if (!acceptsKey(headers['sec-websocket-accept'], webSocketKey(request))) {
              origin.on('error', () => {}).destroy()
              notServed(
                new FleetError(
                  'origin_unreachable',
                  'the origin did not complete the handshake of a WebSocket',
                ),
              )
            } else becomeTunnel(connection, turn, { origin, head, halfOpen: route.timeout })
          },
    onFailure: notServed,
  })
  let { reported } = admitted
  const requestId = (): string => admitted.requestId
  const recheck = (): void => {
    const again = judgeAgain(deps, admitted)
    if (again.allow) {
      reported = deps.admission.recordAgain(peer, ask, again, reported, requestId)
      exchange.notAfter = again.notAfter
      return
    }
    deps.admission.record(peer, ask, again, admitted.requestId)
    forwarded.abort()
    if (connection.kind === 'tunnel') socket.destroy()
    else admitted.denied(denialError(again.reason))
  }
  // draining: it may finish, the door waits for it
  const entry = deps.live.add({
    deviceId,
    foreignName: identity.kind === 'foreign' ? nameOf(identity) : undefined,
    certificateOnly: isCertificateOnly(admitted),
    recheck,
    drain: () => {},
  })
  const exchange: Exchange = {
    isNamed: identity.kind !== 'none',
    patience: route.timeout,
    notAfter: decision.notAfter,
    recheck,
    broken: (error) => {
      if (request.complete) return
      forwarded.abort()
      notServed(error)
    },
    closed: () => {
      share[Symbol.dispose]()
      entry[Symbol.dispose]()
      forwarded.abort()
    },
  }
  return exchange
}
