/**
 * The HTTPS door: one TLS listener on which every connection serves exactly one request, whatever the client does (docs/no-duration.md), and
 * which stops in order. Not the request: exchange.ts.
 */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { FleetError } from '#fleet/errors.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Config } from '#runtime/config.ts'
import { listen, urlFor } from '#runtime/listen.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { addressOf } from '#runtime/peer.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { Contexts } from '../contexts.ts'
import { createCrowd } from '../crowd.ts'
import type { Exchange, Expectation } from './admitted.ts'
import { startExchange, type ExchangeDeps } from './exchange.ts'
import { createOrigins } from './origins.ts'
import { replyProblem, replyProblemRaw } from './reply.ts'
import { createShares } from './shares.ts'

/** ms that requests under way have when the gateway stops. */
const DRAIN = 5_000
/** ms that everybody else has. */
const GRACE = 250
/** ms between two looks at answers that outlive their client's certificate. */
const EXPIRY_SWEEP = 1_000

export type HttpsDoorOptions = Omit<
  ExchangeDeps,
  'origins' | 'shares' | 'failed' | 'bodyLimit' | 'bodyLeast' | 'originTimeout'
> & {
  readonly config: Config
  readonly metrics: Metrics
  readonly clock: Clock
  readonly contexts: Contexts
  readonly drainWithin?: number
}

export type HttpsDoor = AsyncDisposable & { readonly url: string }

/** Node's parser errors that have an answer of their own; the rest of what is not HTTP is 400. */
const PARSER_ERRORS: Readonly<Record<string, () => FleetError>> = {
  HPE_HEADER_OVERFLOW: () => new FleetError('headers_too_large', 'the request header is too large'),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: () => new FleetError('body_too_large', 'the chunk extensions are too large'),
  ERR_HTTP_REQUEST_TIMEOUT: () =>
    new FleetError('request_timeout', 'the request header did not arrive in time'),
}
const parserError = (error: Error): FleetError =>
  PARSER_ERRORS[(error as NodeJS.ErrnoException).code ?? '']?.() ??
  new FleetError('bad_request', 'this is not an HTTP request that we read', { cause: error })

/** @throws FleetError `config_invalid` when it cannot listen */
export const openHttpsDoor = async (o: HttpsDoorOptions): Promise<HttpsDoor> => {
  const { config, log, metrics, contexts } = o
  const { limits } = config
  const failures = metrics.counter('sallyport_https_failures_total', 'Requests not served, by reason', [
    'reason',
  ])
  const handshakes = metrics.counter('sallyport_handshake_failures_total', 'TLS handshakes that failed', [
    'door',
  ])
  const dropped = metrics.counter('sallyport_connections_dropped_total', 'Connections above the limit', [
    'door',
  ])

  const origins = createOrigins({ timeout: config.https.origin_timeout })
  const deps: ExchangeDeps = {
    ...o,
    origins,
    shares: createShares(limits.max_connections),
    bodyLimit: config.https.body_limit,
    bodyLeast: config.https.body_least,
    originTimeout: config.https.origin_timeout,
    failed: (reason) => {
      failures.inc({ reason })
    },
  }

  const server = createServer({
    ...contexts.server,
    maxHeaderSize: limits.header_bytes,
    headersTimeout: limits.header_timeout,
    // a body may take long; it may not stand still: forward.ts
    requestTimeout: 0,
    connectionsCheckingInterval: Math.max(50, Math.min(500, limits.header_timeout / 4)),
    // answered here, as a problem
    requireHostHeader: false,
    insecureHTTPParser: false,
    optimizeEmptyRequests: true,
  })
  server.maxRequestsPerSocket = 1
  // Node drops silently what is beyond it, and a field that we do not see is one that we do not judge; the size is bounded above
  server.maxHeadersCount = 0
  server.timeout = 0

  // ---- one request per connection

  /** Connections on which a request was, or will never be, served. */
  const claimed = new WeakSet<Duplex>()
  const exchanges = new Map<Duplex, Exchange>()
  const claim = (socket: Duplex): boolean => {
    if (claimed.has(socket)) return false
    claimed.add(socket)
    return true
  }

  const serve = (request: IncomingMessage, response: ServerResponse, expectation: Expectation): void => {
    const { socket } = request
    // no answer: it would come behind the first one, on a connection that ends with it
    if (!claim(socket)) return
    let exchange: Exchange | undefined
    try {
      exchange = startExchange(deps, request, response, expectation)
    } catch (err) {
      const requestId = newRequestId()
      failures.inc({ reason: 'internal' })
      log.error({ err, request_id: requestId }, 'broken')
      replyProblem(request, response, err, requestId)
    }
    if (exchange === undefined) return
    crowd.admit(socket)
    exchanges.set(socket, exchange)
    response.once('close', () => exchanges.delete(socket))
  }
  server.on('request', (request, response) => {
    serve(request, response, 'none')
  })
  server.on('checkContinue', (request, response) => {
    serve(request, response, 'continue')
  })
  server.on('checkExpectation', (request, response) => {
    serve(request, response, 'unknown')
  })
  // without an 'upgrade' listener an Upgrade is an ordinary request, claimed like one and refused in exchange.ts
  server.on('connect', (_, socket) => {
    if (!claim(socket)) socket.destroy()
    else refuseRaw(socket as Socket, new FleetError('method_not_allowed', 'this is not a forward proxy'))
  })

  // ---- what is not a request

  const refuseRaw = (socket: Socket, error: FleetError): void => {
    const requestId = newRequestId()
    failures.inc({ reason: error.code })
    const seen = { door: 'https', reason: error.code, address: addressOf(socket), request_id: requestId }
    if (o.anonymousLines.take()) log.info(seen, 'not served')
    replyProblemRaw(socket, error, requestId)
  }
  server.on('clientError', (error: Error, socket: Duplex) => {
    if (!claim(socket)) {
      // behind a request that is being served: it must not take that one's answer away
      const exchange = exchanges.get(socket)
      if (exchange === undefined || !socket.writable) socket.destroy()
      else exchange.broken(parserError(error))
      return
    }
    if (socket.writable && !socket.destroyed && (error as NodeJS.ErrnoException).code !== 'ECONNRESET')
      refuseRaw(socket as Socket, parserError(error))
    else socket.destroy()
  })
  server.on('tlsClientError', (err, socket) => {
    handshakes.inc({ door: 'https' })
    log.debug({ err, address: addressOf(socket) }, 'TLS handshake failed')
    socket.destroy()
  })

  // ---- its life

  const crowd = createCrowd({
    most: limits.max_connections,
    dropped: () => {
      dropped.inc({ door: 'https' })
    },
  })
  server.on('connection', (socket: Socket) => {
    crowd.enter(socket)
  })
  contexts.onReload((options) => {
    server.setSecureContext(options)
  })
  const { host, port } = await listen(server, config.gateway.https_listen)
  server.on('error', (err) => {
    log.error({ err }, 'the HTTPS listener failed')
  })
  const sweep = setInterval(() => {
    const now = o.clock()
    for (const exchange of exchanges.values()) if (now > exchange.notAfter) exchange.recheck()
  }, EXPIRY_SWEEP).unref()

  return {
    url: urlFor('https', host, port),
    async [Symbol.asyncDispose]() {
      clearInterval(sweep)
      const closed = once(server, 'close')
      server.close()
      // an answer that is on its way may arrive; whoever has not asked for anything is not waited for
      const grace = setTimeout(() => {
        crowd.dismiss()
      }, GRACE)
      const deadline = setTimeout(() => {
        crowd.close()
      }, o.drainWithin ?? DRAIN)
      await closed
      clearTimeout(grace)
      clearTimeout(deadline)
      await origins[Symbol.asyncDispose]()
    },
  }
}
