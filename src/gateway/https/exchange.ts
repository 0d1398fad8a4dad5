/**
 * One request, from its header to the verdict: envelope, target, admission. Every way out of here is an answer with a reason, or a
 * broken connection. Not the connection, of which door.ts sees to it that it has only one of these; not the origin: admitted.ts.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Ask } from '#policy/decision.ts'
import { canonicalTarget } from '#policy/target.ts'
import type { Log } from '#runtime/log.ts'
import { readPeer } from '#runtime/peer.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { AnonymousLines } from '../anonymous-lines.ts'
import { serveAdmitted, type AdmittedDeps, type Exchange, type Expectation } from './admitted.ts'
import { denialError } from './details.ts'
import { openEnvelope } from './envelope.ts'
import { replyJwks, replyProblem } from './reply.ts'

export type ExchangeDeps = AdmittedDeps & {
  readonly log: Log
  readonly anonymousLines: AnonymousLines
  /** throws `registry_unavailable` */
  readonly isKnownHost: (hostname: string) => boolean
  /** counts what was not served for another reason than admission's */
  readonly failed: (reason: string) => void
}

const JWKS_PATH = '/cdn-cgi/access/certs'

/** Public keys are for everyone, but only where there is something to verify: an unknown hostname does not exist. */
const mayReadKeys = (deps: ExchangeDeps, peer: Peer, host: string): boolean => {
  if (peer.resumed || peer.serverName !== host) return false
  try {
    return deps.isKnownHost(host)
  } catch {
    // admission says so, with its reason
    return false
  }
}

/** @returns undefined when it is over already */
export const startExchange = (
  deps: ExchangeDeps,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: Expectation,
): Exchange | undefined => {
  const requestId = newRequestId()
  const peer = readPeer(request.socket as TLSSocket)
  const method = request.method ?? ''
  const refuse = (error: FleetError): undefined => {
    replyProblem(request, response, error, requestId)
  }
  let admitted = false
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
    return refuse(error)
  }

  const opened = openEnvelope(request.rawHeaders, request.httpVersion)
  if (!opened.ok) return fail(new FleetError('bad_request', opened.problem))
  const { envelope } = opened
  const target = canonicalTarget(request.url ?? '', envelope.authority)

  if (target.ok && target.path === JWKS_PATH && mayReadKeys(deps, peer, envelope.host)) {
    if (method !== 'GET' && method !== 'HEAD')
      return fail(new FleetError('method_not_allowed', 'the keys can be read'))
    replyJwks(request, response, deps.assertions.jwks())
    return undefined
  }

  const ask: Ask = {
    door: 'https',
    host: envelope.host,
    method,
    target: target.ok ? target.target : (request.url ?? ''),
  }
  const decision = deps.admission.judge(peer, ask)
  deps.admission.record(peer, ask, decision, requestId)
  if (!decision.allow) return refuse(denialError(decision.reason, target))
  admitted = true
  const { leaf } = peer
  if (leaf === undefined || !target.ok) throw new Error('admitted without a certificate or a target')
  return serveAdmitted(deps, {
    request,
    response,
    expectation,
    requestId,
    peer,
    leaf,
    ask,
    envelope,
    target,
    decision,
    refuse,
    fail,
  })
}
