/**
 * One request, from its header to the verdict: rate, envelope, target, admission. Every way out of here is an answer with a reason, or a
 * broken connection. Not the connection, of which turns.ts sees to the order of its requests; not the origin: admitted.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { SECOND } from '#fleet/clock.ts'
import type { Application } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Peer } from '#fleet/peer.ts'
import { nameOf } from '#policy/admission.ts'
import type { Allowed, Ask } from '#policy/decision.ts'
import { isOwnPath, ownPathOf } from '#policy/forwarded.ts'
import { canonicalTarget, type Canonical } from '#policy/target.ts'
import { limitKey } from '#runtime/address-key.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { ownerOf } from '../owner.ts'
import { serveAccessEndpoint, type AccessEndpointDeps } from './access-endpoints.ts'
import { serveAdmitted, type AdmittedDeps, type AdmittedRequest } from './admitted.ts'
import type { Connection, Exchange, Turn } from './connection.ts'
import { denialError, isForgotten } from './details.ts'
import { openEnvelope, type Envelope } from './envelope.ts'
import type { MqttWebSockets } from './mqtt-websocket.ts'
import { servePublish, type PublishDeps } from './publish-request.ts'
import { judgeOn } from './judging.ts'
import type { Rates } from '../rates.ts'
import { createRefusals, type RefusalDeps, type Refusals } from './refusals.ts'
import type { Route } from './routes.ts'
import { withoutSessionCookie } from './spoofs.ts'

export type ExchangeDeps = AdmittedDeps &
  PublishDeps &
  AccessEndpointDeps &
  RefusalDeps & {
    /** of requests, by certificate, or by whoever has none */
    readonly rates: Rates
    readonly routeOf: (application: Application) => Route
    /** by which clients may reach the door, beside 443 */
    readonly ports: readonly number[]
    /** undefined: there is none now */
    readonly applicationNamed: (name: string) => Application | undefined
    /** undefined: this process has no way to a broker */
    readonly mqttWebSockets: MqttWebSockets | undefined
  }

const askFor = (
  { before, since }: Connection,
  { request, early }: Turn,
  { host, authority, origin }: Envelope,
  target: Canonical,
): Ask => ({
  door: 'https',
  host,
  authority,
  method: request.method ?? '',
  target: target.ok ? target.target : (request.url ?? ''),
  first: before === 0,
  handshakeAt: since,
  ...(origin === undefined ? {} : { origin }),
  ...(early === undefined ? {} : { upgrade: true }),
})

/** A session begins with the first admitted request of a connection that came without one, once for each application. */
const beginSession = (
  { sessions }: ExchangeDeps,
  { peer, begun, since }: Connection,
  decision: Allowed,
  host: string,
): string | undefined => {
  const { plan, session, application } = decision
  if (plan.duration === 0 || session !== undefined || begun.includes(application.id)) return undefined
  const cookie = sessions.begin({ decision, peer, host, since })
  if (cookie !== undefined) begun.push(application.id)
  return cookie
}

/** Whoever let everybody in did not ask who it is: then the address stands for it. */
const nameFor = ({ identity }: Allowed, { peer }: Connection): string =>
  identity.kind === 'none' ? limitKey(peer.address) : nameOf(identity)

/** Anybody can make certificates: one that no CA stands for is counted with the address that it came from. */
const counterOf = ({ fingerprint }: CertificateFacts, { trusted, address }: Peer): string =>
  trusted ? fingerprint : limitKey(address)

const tooOften = (wait: number): FleetError =>
  new FleetError('rate_limited', 'too many requests in a minute; wait', { retryAfter: wait / SECOND })

/** One whose header could be read, and which is no endpoint of the gateway's own. */
type Asked = Pick<AdmittedRequest, 'connection' | 'turn' | 'requestId' | 'envelope'> & {
  readonly target: Canonical
  readonly refusals: Refusals
}

const serveAllowed = (
  deps: ExchangeDeps,
  admitted: Omit<AdmittedRequest, 'route' | 'cookie' | 'shareName' | 'denied' | 'notServed'>,
  refusals: Refusals,
): Exchange | undefined => {
  const { connection, decision, envelope } = admitted
  const { peer } = connection
  const { identity } = decision
  const isNamed = identity.kind !== 'none'
  const shareName = nameFor(decision, connection)
  // a session without its certificate counts with those that bring it
  const rateName = decision.session?.fingerprint ?? shareName
  // a good certificate that nobody has looked at is not what it was let in for
  const isCounted = peer.leaf !== undefined && (isNamed || !peer.trusted)
  const wait = isCounted ? 0 : deps.rates.take(rateName)
  if (wait > 0) return refusals.notServed(tooOften(wait), isNamed)
  // its end is that of a session, which only a certificate can have
  const hasSession = decision.plan.duration > 0 && ownerOf(identity) !== undefined
  if (hasSession) connection.keep()
  const cookie = beginSession(deps, connection, decision, envelope.host)
  const route = deps.routeOf(decision.application)
  const serve = route.publishing === undefined ? serveAdmitted : servePublish
  return serve(deps, {
    ...admitted,
    route,
    cookie,
    shareName,
    denied: refusals.denied,
    notServed: (error) => refusals.notServed(error, isNamed, cookie),
  })
}

const judge = (deps: ExchangeDeps, asked: Asked): Exchange | undefined => {
  const { connection, turn, requestId, envelope, target, refusals } = asked
  const { request } = turn
  const { peer } = connection
  const ask = askFor(connection, turn, envelope, target)
  const credentials = deps.sessions.credentialsOf(request, peer, envelope.host)
  const decision = judgeOn(deps, connection, ask, credentials)
  const reported = deps.admission.record(peer, ask, decision, requestId)
  if (!decision.allow) {
    const { reason } = decision
    const { cookie: sent } = request.headers
    const forgets = isForgotten(reason) && sent !== undefined && withoutSessionCookie(sent) !== sent
    const application = forgets ? deps.applicationNamed(decision.application ?? '') : undefined
    return refusals.denied(denialError(reason, target), forgets ? deps.sessions.forget(application) : [])
  }
  if (!target.ok) throw new Error('admitted without a target')
  const admitted = { connection, turn, requestId, ask, credentials, envelope, target, decision, reported }
  return serveAllowed(deps, admitted, refusals)
}

/** @returns undefined when it is over already */
export const startExchange = (
  deps: ExchangeDeps,
  connection: Connection,
  turn: Turn,
): Exchange | undefined => {
  const { request, response } = turn
  const { peer } = connection
  const requestId = newRequestId()
  const refusals = createRefusals(deps, connection, turn, requestId)
  const { denied, notServed } = refusals

  const wait = peer.leaf === undefined ? 0 : deps.rates.take(counterOf(peer.leaf, peer))
  if (wait > 0) return notServed(tooOften(wait))
  const opened = openEnvelope(request.rawHeaders, request.httpVersion, deps.ports)
  if (!opened.ok) {
    // what follows may be read in two ways as well
    connection.close()
    return notServed(new FleetError('bad_request', opened.problem))
  }
  const { envelope } = opened
  const { host } = envelope
  const target = canonicalTarget(request.url ?? '', envelope.authority)
  const path = target.ok ? ownPathOf(target) : ''
  // what is asked for there is the last thing on a connection
  if (isOwnPath(path)) connection.close()
  if (serveAccessEndpoint(deps, { request, response, requestId, peer, host, path, denied, notServed }))
    return undefined
  const asked = { connection, turn, requestId, envelope, target, refusals }
  const taken = deps.mqttWebSockets?.take(deps, asked)
  return taken === undefined ? judge(deps, asked) : taken.exchange
}
