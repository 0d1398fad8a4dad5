/**
 * What the gateway itself answers on every host that it serves, below `/cdn-cgi/access/`: `certs`, `logout`, `get-identity`, as Cloudflare Access
 * has them. Before admission, for none of it is an application's, and never forwarded. Not the keys, not the sessions.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Denial } from '#fleet/denial.ts'
import type { Peer } from '#fleet/peer.ts'
import { nameOf } from '#policy/admission.ts'
import type { Allowed, Denied, Identity } from '#policy/decision.ts'
import { OWN_ROOT, isOwnPath } from '#policy/forwarded.ts'
import type { Log } from '#runtime/log.ts'
import type { Admission } from '../admission.ts'
import { KEPT_FOR, type KeyRing } from '../key-ring.ts'
import { ownerOf } from '../owner.ts'
import { loggedSubject } from '../sessions/revoked.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { prefersHtml } from './accept.ts'
import { denialError, isForgotten } from './details.ts'
import { PAGE_HEADERS, PAGE_TYPE } from './page.ts'
import type { Refusals } from './refusals.ts'
import { answerEarly } from './reply.ts'
import { ownHeaders } from './response-headers.ts'

export type AccessEndpointDeps = {
  readonly admission: Pick<Admission, 'whoIs' | 'record'>
  readonly sessions: Pick<Sessions, 'credentialsOf' | 'held' | 'end' | 'forget'>
  readonly keys: Pick<KeyRing, 'published'>
  readonly log: Log
  /** throws `registry_unavailable` */
  readonly isKnownHost: (hostname: string) => boolean
}

export type AccessAsked = Refusals & {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly peer: Peer
  /** of Host: lower case, no port, no trailing dot */
  readonly host: string
  /** canonical, decoded */
  readonly path: string
}

type Endpoint = {
  readonly methods: readonly string[]
  readonly serve: (deps: AccessEndpointDeps, asked: AccessAsked) => void
}

/** What the connection was for is done: it ends with the answer. @param headers name, value, …, beside those of every answer */
const answer = ({ request, response }: AccessAsked, body: string, headers: readonly string[]): void => {
  answerEarly(request)
  const length = ['Content-Length', String(Buffer.byteLength(body))]
  response.writeHead(200, [...ownHeaders('close'), ...length, ...headers])
  response.end(request.method === 'HEAD' ? undefined : body)
  if (!request.complete) request.resume()
}

const NO_STORE = ['Cache-Control', 'no-store']
const TEXT_TYPE = ['Content-Type', 'text/plain; charset=utf-8', 'X-Content-Type-Options', 'nosniff']
const JSON_TYPE = ['Content-Type', 'application/json', 'X-Content-Type-Options', 'nosniff']

/** Public keys are for everyone. A new key is used at once: whoever meets an unknown kid fetches again. */
const serveCerts: Endpoint['serve'] = ({ keys }, asked) => {
  answer(asked, keys.published(), [...JSON_TYPE, 'Cache-Control', `public, max-age=${KEPT_FOR / SECOND}`])
}

const LOGGED_OUT = 'Your sessions have ended.'
const LOGGED_OUT_PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Logged out</title>
<h1>Logged out</h1>
<p>${LOGGED_OUT} The next request begins a new one where an application has them.</p>
</html>
`

const sayLoggedOut = (sessions: Pick<Sessions, 'forget'>, asked: AccessAsked): void => {
  const { request, response } = asked
  // it may have been waited for
  if (response.destroyed) return
  const cookies = sessions.forget(undefined).flatMap((value) => ['Set-Cookie', value])
  if (prefersHtml(request.headers.accept))
    answer(asked, LOGGED_OUT_PAGE, [...PAGE_HEADERS, 'Content-Type', PAGE_TYPE, ...NO_STORE, ...cookies])
  else answer(asked, `${LOGGED_OUT}\n`, [...TEXT_TYPE, ...NO_STORE, ...cookies])
}

/** Whoever holds the token may end it, without the certificate that it is bound to: it is the one thing that it is good for alone. */
const serveLogout: Endpoint['serve'] = ({ sessions, log }, asked) => {
  const { request, host, peer, requestId } = asked
  const ended = sessions.end(request, host)
  if (ended !== undefined) {
    const session = loggedSubject(ended.subject)
    log.info({ door: 'https', host, session, address: peer.address, request_id: requestId }, 'logged out')
  }
  // whoever reads it may ask any process of this door next
  if (ended?.everywhere === undefined) sayLoggedOut(sessions, asked)
  else void ended.everywhere.then(() => sayLoggedOut(sessions, asked))
}

const detailsOf = (identity: Identity): Record<string, unknown> => {
  if (identity.kind === 'service') return { service_token_id: identity.id, service_token_status: true }
  const { commonName, deviceId, anchor } = ownerOf(identity) ?? {}
  // what is undefined is not in the JSON
  return { common_name: commonName, device_id: deviceId, anchor }
}

const seconds = (ms: number): number => Math.floor(ms / 1_000)

const identityDocument = (
  { identity, session }: Allowed,
  { peer }: AccessAsked,
): Record<string, unknown> => ({
  id: nameOf(identity),
  type: identity.kind,
  ...detailsOf(identity),
  auth_status: 'SUCCESS',
  ...(session === undefined
    ? {}
    : { jti: session.id, iat: seconds(session.issuedAt), exp: seconds(session.expiresAt) }),
  ip: peer.address,
})

const askOf = ({ request, host, path }: AccessAsked) =>
  ({ door: 'https', host, method: request.method ?? '', target: path }) as const

const deny = (
  { admission }: Pick<AccessEndpointDeps, 'admission'>,
  asked: AccessAsked,
  decision: Denied,
  setCookies: readonly string[],
): void => {
  admission.record(asked.peer, askOf(asked), decision, asked.requestId)
  asked.denied(denialError(decision.reason), setCookies)
}

const serveIdentity: Endpoint['serve'] = (deps, asked) => {
  const { admission, sessions } = deps
  const { request, peer, host } = asked
  const held = sessions.held(request, host)
  const credentials = sessions.credentialsOf(request, peer, host)
  const decision = admission.whoIs(peer, host, credentials, held?.applicationId)
  if (!decision.allow)
    deny(deps, asked, decision, isForgotten(decision.reason) ? sessions.forget(undefined) : [])
  else answer(asked, `${JSON.stringify(identityDocument(decision, asked))}\n`, [...JSON_TYPE, ...NO_STORE])
}

const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map([
  [`${OWN_ROOT}/certs`, { methods: ['GET', 'HEAD'], serve: serveCerts }],
  [`${OWN_ROOT}/logout`, { methods: ['GET', 'POST'], serve: serveLogout }],
  [`${OWN_ROOT}/get-identity`, { methods: ['GET', 'HEAD'], serve: serveIdentity }],
])

/** An unknown hostname does not exist, here neither. In the ladder's order. */
const refusalOf = (deps: AccessEndpointDeps, { peer, host }: AccessAsked): Denial | undefined => {
  if (peer.resumed) return 'session_resumed'
  if (peer.serverName !== host) return 'host_mismatch'
  try {
    return deps.isKnownHost(host) ? undefined : 'no_application'
  } catch {
    return 'registry_unavailable'
  }
}

/** Ask before admission. @returns whether it was one, and has been answered; it is never an application's */
export const serveAccessEndpoint = (deps: AccessEndpointDeps, asked: AccessAsked): boolean => {
  const { path, request } = asked
  if (!isOwnPath(path)) return false
  const reason = refusalOf(deps, asked)
  const endpoint = ENDPOINTS.get(path)
  if (reason !== undefined) deny(deps, asked, { allow: false, reason }, [])
  else if (endpoint === undefined)
    asked.notServed(new FleetError('not_found', 'below /cdn-cgi/access/ are certs, logout and get-identity'))
  else if (!endpoint.methods.includes(request.method ?? ''))
    asked.notServed(
      new FleetError('method_not_allowed', `${endpoint.methods.join(' and ')} can be asked for here`, {
        allow: endpoint.methods,
      }),
    )
  else endpoint.serve(deps, asked)
  return true
}
