/**
 * One request, from its header to the verdict: rate, envelope, target, admission. Every way out of here is an answer with a reason, or a
 * broken connection. Not the connection, of which turns.ts sees to the order of its requests; not the origin: admitted.ts.
 */

import type { Denial } from '#fleet/denial.ts'
import { FleetError } from '#fleet/errors.ts'
import { SECOND } from '#fleet/clock.ts'
import type { Application } from '#fleet/access.ts'
import { nameOf } from '#policy/admission.ts'
import type { Ask, Decision } from '#policy/decision.ts'
import { canonicalTarget, type Canonical, type Target } from '#policy/target.ts'
import { limitKey } from '#runtime/address-key.ts'
import type { Log } from '#runtime/log.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { AnonymousLines } from '../anonymous-lines.ts'
import { serveAccessEndpoint, type AccessEndpointDeps } from './access-endpoints.ts'
import { judgeOn, serveAdmitted, type AdmittedDeps } from './admitted.ts'
import { fateOf, type Connection, type Exchange, type Turn } from './connection.ts'
import { denialError } from './details.ts'
import { openEnvelope, type Envelope } from './envelope.ts'
import type { Rates } from './rates.ts'
import { replyProblem } from './reply.ts'
import type { Route } from './routes.ts'
import { withoutSessionCookie } from './spoofs.ts'

export type ExchangeDeps = AdmittedDeps &
  AccessEndpointDeps & {
    readonly log: Log
    readonly anonymousLines: AnonymousLines
    /** of requests, by certificate, or by whoever has none */
    readonly rates: Rates
    readonly routeOf: (application: Application) => Route
    /** counts what was not served for another reason than admission's */
    readonly failed: (reason: string) => void
  }

const OWN_PATHS = '/cdn-cgi/access'

type Allowed = Extract<Decision, { allow: true }>

/** A token that will never be good here again: the client need not send it. */
const FORGOTTEN: ReadonlySet<Denial> = new Set(['token_invalid', 'token_binding_mismatch'])

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

const isOwn = (path: string): boolean => path === OWN_PATHS || path.startsWith(`${OWN_PATHS}/`)

/** In whatever way an origin may read it, what is the gateway's own is none of its business. */
const ownPathOf = ({ decoded, readings }: Target): string => (readings.some(isOwn) ? OWN_PATHS : decoded)

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

const tooOften = (wait: number): FleetError =>
  new FleetError('rate_limited', 'too many requests in a minute; wait', { retryAfter: wait / SECOND })

/** @returns undefined when it is over already */
export const startExchange = (
  deps: ExchangeDeps,
  connection: Connection,
  turn: Turn,
): Exchange | undefined => {
  const { request, response } = turn
  const { peer } = connection
  const { leaf } = peer
  const requestId = newRequestId()
  let cookie: string | undefined
  let admitted = false

  const tell = (error: FleetError, cookies: readonly string[]): undefined => {
    replyProblem(request, response, error, requestId, fateOf(connection, request), cookies)
  }
  const refuse = (error: FleetError, cookies: readonly string[] = []): undefined => {
    connection.ending = true
    return tell(error, cookies)
  }
  const fail = (error: FleetError): undefined => {
    deps.failed(error.code)
    const line = {
      door: 'https',
      reason: error.code,
      address: peer.address,
      request_id: requestId,
      err: error.cause,
    }
    if (admitted || deps.anonymousLines.take()) deps.log.info(line, 'not served')
    return tell(error, cookie === undefined ? [] : [cookie])
  }

  const wait = leaf === undefined ? 0 : deps.rates.take(leaf.fingerprint)
  if (wait > 0) return fail(tooOften(wait))
  const opened = openEnvelope(request.rawHeaders, request.httpVersion)
  if (!opened.ok) {
    // what follows may be read in two ways as well
    connection.ending = true
    return fail(new FleetError('bad_request', opened.problem))
  }
  const { envelope } = opened
  const { host } = envelope
  const target = canonicalTarget(request.url ?? '', envelope.authority)
  const path = target.ok ? ownPathOf(target) : ''
  if (serveAccessEndpoint(deps, { request, response, requestId, peer, host, path, refuse, fail }))
    return undefined

  const ask = askFor(connection, turn, envelope, target)
  const credentials = deps.sessions.credentialsOf(request, peer, host)
  const decision = judgeOn(deps, connection, ask, credentials)
  deps.admission.record(peer, ask, decision, requestId)
  if (!decision.allow) {
    const { reason } = decision
    const { cookie: sent } = request.headers
    const forgets = FORGOTTEN.has(reason) && sent !== undefined && withoutSessionCookie(sent) !== sent
    return refuse(denialError(reason, target), forgets ? deps.sessions.forget(undefined) : [])
  }
  admitted = true
  if (!target.ok) throw new Error('admitted without a target')
  const shareName = nameFor(decision, connection)
  const waitFor = leaf === undefined ? deps.rates.take(shareName) : 0
  if (waitFor > 0) return fail(tooOften(waitFor))
  if (decision.plan.duration > 0 && connection.kind === 'single') {
    connection.kind = 'kept'
    connection.endsAt = connection.since + deps.maxConnection
  }
  cookie = beginSession(deps, connection, decision, host)
  return serveAdmitted(deps, {
    connection,
    turn,
    requestId,
    ask,
    credentials,
    envelope,
    target,
    decision,
    route: deps.routeOf(decision.application),
    cookie,
    shareName,
    refuse,
    fail,
  })
}
