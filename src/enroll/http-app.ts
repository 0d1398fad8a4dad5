/**
 * A fastify instance as every listener of this desk has it: our limits, our errors (RFC 9457) for everything fastify and Node refuse,
 * no banner, one log line a request. Not the routes, and not TLS options: those are #runtime/tls.ts.
 */

import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { TLSSocket, type TlsOptions } from 'node:tls'
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyTypeProvider,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
} from 'fastify'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { addressOf as addressOfSocket, readPeer } from '#runtime/peer.ts'
import { problemReply } from '#runtime/problem-reply.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { PROBLEMS } from '#wire/problems.ts'
import type { Static, TSchema } from '#wire/rest.ts'
import { lateSchemas, STRICTLY } from './late-schemas.ts'
import { asFleetError } from './thrown.ts'
import { refuseUnparsed } from './unparsed.ts'

/** Handlers get the types of their schemas. */
export interface SchemaTypes extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown
  serializer: this['schema'] extends TSchema ? Static<this['schema']> : unknown
}

export type App = FastifyInstance<
  Server,
  RawRequestDefaultExpression<Server>,
  RawReplyDefaultExpression<Server>,
  FastifyBaseLogger,
  SchemaTypes
>

/** Larger bodies are refused unread. */
const MAX_BODY_BYTES = 1_048_576
/** A body has this long to arrive, headers included, ms. */
const REQUEST_TIMEOUT = 30_000
/** Longer than a client's usual idle time between two enrolments, shorter than a proxy's. */
const KEEP_ALIVE_TIMEOUT = 15_000
/** After this long without a byte either way the connection ends. A little more than a request may take, so that 408 is said first. */
const QUIET_TIMEOUT = REQUEST_TIMEOUT + 5_000
const TWO_YEARS = 63_072_000

/** Writes a refusal as the protocol of its path has it. */
export type Refusal = (request: FastifyRequest, reply: FastifyReply, error: FleetError) => void

declare module 'fastify' {
  interface FastifyRequest {
    /** what a route adds to the request's log line; no secrets */
    logged: Record<string, string | number | boolean>
  }
  interface FastifyInstance {
    /** by how a path begins: who writes what no route answers. Anywhere else it is a problem document */
    refusals: Map<string, Refusal>
  }
}

/** @param quiet ms; for tests */
export const httpServer = (
  limits: Config['limits'],
  tls: TlsOptions | undefined,
  quiet = Math.max(QUIET_TIMEOUT, limits.header_timeout + 5_000),
): Server => {
  const options: ServerOptions = {
    maxHeaderSize: limits.header_bytes,
    headersTimeout: limits.header_timeout,
    requestTimeout: Math.max(REQUEST_TIMEOUT, limits.header_timeout),
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT,
    // Node looks for late ones every 30 s by default, which would make 10 s into 40.
    connectionsCheckingInterval: 1_000,
    insecureHTTPParser: false,
    // Checked below instead, so that its absence gets a problem document too.
    requireHostHeader: false,
  }
  const server = tls === undefined ? createServer(options) : createTlsServer({ ...options, ...tls })
  server.maxConnections = limits.max_connections
  // Node's default is never: who asks and does not read would keep the answer in our memory.
  server.timeout = quiet
  return server
}

const peers = new WeakMap<TLSSocket, Peer>()

/** Read once per connection. undefined: not a TLS connection. */
export const peerOf = (request: FastifyRequest): Peer | undefined => {
  const { socket } = request.raw
  if (!(socket instanceof TLSSocket)) return undefined
  const known = peers.get(socket)
  if (known !== undefined) return known
  const peer = readPeer(socket)
  peers.set(socket, peer)
  return peer
}

/** Of the socket: a header can say anything. */
export const addressOf = (request: FastifyRequest): string => addressOfSocket(request.raw.socket)

/** Writes the problem; a request whose body has not been read is not read on, its connection ends. */
const replyProblem = (
  refusals: ReadonlyMap<string, Refusal>,
  request: FastifyRequest,
  reply: FastifyReply,
  error: FleetError,
): void => {
  // A URL that cannot be read gets here before any hook.
  request.logged ??= {}
  request.logged['reason'] = error.code
  reply.header('x-request-id', request.id)
  const own = [...refusals].find(([start]) => request.url.startsWith(start))
  if (own !== undefined) {
    own[1](request, reply, error)
    return
  }
  const { status, headers, body } = problemReply(error, request.id)
  if (!request.raw.complete) reply.header('connection', 'close')
  reply.code(status).headers(headers).send(Buffer.from(body))
}

/** `:name` → one segment, `*` → the rest. Our routes use nothing else of find-my-way's grammar. */
const routeMatcher = (url: string): RegExp =>
  new RegExp(
    `^${url
      .replace(/[.+^${}()|[\]\\?]/g, '\\$&')
      .replace(/:[A-Za-z]+/g, '[^/]+')
      .replace(/\*/g, '.*')}$`,
  )

/** From the first hook on, so that nobody reads a body that no route takes. */
const refuseUnknown = (app: App): void => {
  const routes: { readonly method: string; readonly matches: RegExp }[] = []
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.push({ method: each, matches: routeMatcher(url) })
  })
  app.addHook('onRequest', (request, reply, done) => {
    if (!request.is404) {
      done()
      return
    }
    const [path = ''] = request.url.split('?')
    const allowed = routes.filter(({ matches }) => matches.test(path)).map(({ method }) => method)
    if (allowed.length > 0) reply.header('allow', [...new Set(allowed)].join(', '))
    done(
      allowed.length > 0
        ? new FleetError('method_not_allowed', 'see the Allow header')
        : new FleetError('not_found', 'no such path'),
    )
  })
  // Without one of our own, the default 404 runs no hooks of ours.
  app.setNotFoundHandler((request, reply) => {
    replyProblem(app.refusals, request, reply, new FleetError('not_found', 'no such path'))
  })
}

/**
 * @param o.name the listener, for the log
 * @param o.server from {@link httpServer}; the caller listens and closes
 */
export const createApp = (o: {
  readonly name: string
  readonly log: Log
  readonly metrics: Metrics
  readonly server: Server
  /** over TLS */
  readonly secure: boolean
}): App => {
  const requests = o.metrics.counter('sallyport_enroll_requests_total', 'Requests, by outcome', [
    'listener',
    'route',
    'status',
    'reason',
  ])
  const lines = o.log.child({ listener: o.name })
  const refusals = new Map<string, Refusal>()
  const app: App = fastify({
    serverFactory: (handler) => {
      o.server.on('request', handler as RequestListener)
      refuseUnparsed(o.server, (error, requestId, socket) => {
        const { status } = PROBLEMS[error.code]
        requests.inc({ listener: o.name, route: 'unknown', status: String(status), reason: error.code })
        lines.info(
          {
            request_id: requestId,
            status,
            reason: error.code,
            address: addressOfSocket(socket as Socket),
          },
          'request',
        )
      })
      return o.server
    },
    // One line a request is written below; fastify's own two would hold the same.
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    genReqId: newRequestId,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    routerOptions: { maxParamLength: 256 },
    frameworkErrors: (error, request, reply) => {
      replyProblem(refusals, request, reply, asFleetError(error))
    },
    schemaController: { compilersFactory: lateSchemas },
    ajv: { customOptions: STRICTLY },
  })

  const always: Readonly<Record<string, string>> = {
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    ...(o.secure ? { 'strict-transport-security': `max-age=${TWO_YEARS}` } : {}),
  }
  // fastify takes plain text too, and no route of ours does
  app.removeContentTypeParser('text/plain')
  app.decorate('refusals', refusals)
  app.decorateRequest('logged')
  app.addHook('onRequest', (request, reply, done) => {
    request.logged = {}
    reply.headers(always).header('x-request-id', request.id)
    // RFC 9112 §3.2
    const hostless = request.headers.host === undefined && request.raw.httpVersion !== '1.0'
    done(hostless ? new FleetError('bad_request', 'there is no Host header') : undefined)
  })
  app.addHook('onResponse', (request, reply, done) => {
    // The pattern, not the URL: a query may hold anything.
    const route = request.routeOptions.url ?? 'unknown'
    const { reason = '' } = request.logged
    requests.inc({ listener: o.name, route, status: String(reply.statusCode), reason: String(reason) })
    lines.info(
      {
        request_id: request.id,
        method: request.method,
        route,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
        address: addressOf(request),
        ...request.logged,
      },
      'request',
    )
    done()
  })
  app.setErrorHandler((thrown, request, reply) => {
    const error = asFleetError(thrown)
    if (error.code === 'internal')
      o.log.error({ request_id: request.id, err: error.cause ?? error }, 'broken')
    replyProblem(refusals, request, reply, error)
  })
  refuseUnknown(app)
  return app
}
