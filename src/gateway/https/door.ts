/**
 * The HTTPS door: one TLS listener, who may come in, and how it stops in order. Not how its bytes become requests: http-server.ts. Not the
 * order of requests on a connection: turns.ts. Not a request: exchange.ts.
 */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Server as TlsServer, type TLSSocket } from 'node:tls'
import { FleetError } from '#fleet/errors.ts'
import { MINUTE, type Clock } from '#fleet/clock.ts'
import { limitKey } from '#runtime/address-key.ts'
import type { Config } from '#runtime/config.ts'
import { listen, urlFor } from '#runtime/listen.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { addressOf } from '#runtime/peer.ts'
import { newRequestId } from '#runtime/request-id.ts'
import type { Contexts } from '../contexts.ts'
import { createCrowd } from '../crowd.ts'
import type { Front } from '../mqtt/front.ts'
import { createPublisher } from '../mqtt/publisher.ts'
import { connectionOf, noteHandshake, type Expectation } from './connection.ts'
import { startExchange, type ExchangeDeps } from './exchange.ts'
import { createHttpServer, parserError, responseOn } from './http-server.ts'
import { createMqttWebSockets } from './mqtt-websocket.ts'
import { createOrigins } from './origins.ts'
import { createRates } from '../rates.ts'
import { replyProblem, replyProblemRaw } from './reply.ts'
import { createRoutes } from './routes.ts'
import { createShares } from './shares.ts'
import { createTurns } from './turns.ts'

/** ms that requests under way have when the gateway stops. */
const DRAIN = 5_000
/** ms that everybody else has. */
const GRACE = 250
/** ms that a connection within a session may be idle; Node says so in Keep-Alive, and waits a second longer. */
const IDLE = MINUTE

export type HttpsDoorOptions = Omit<
  ExchangeDeps,
  | 'origins'
  | 'shares'
  | 'rates'
  | 'routeOf'
  | 'failed'
  | 'bodyLeast'
  | 'ports'
  | 'publisher'
  | 'frameLimit'
  | 'mqttWebSockets'
> & {
  readonly config: Config
  readonly metrics: Metrics
  readonly clock: Clock
  readonly contexts: Contexts
  /** the MQTT door's; undefined: MQTT over WebSocket and messages to a broker are not served */
  readonly front?: Pick<Front, 'serve' | 'upstream'> | undefined
  readonly drainWithin?: number
  readonly idleWithin?: number
}

export type HttpsDoor = AsyncDisposable & {
  readonly url: string
  /**
   * Takes nobody new and resolves when everybody is gone. Asked again, the shorter times count.
   * @param within ms that requests under way have. @param grace ms that those have who have not asked for anything
   */
  close(within?: number, grace?: number): Promise<void>
}

/** @throws FleetError `config_invalid` when it cannot listen */
export const openHttpsDoor = async (o: HttpsDoorOptions): Promise<HttpsDoor> => {
  const { config, log, metrics, contexts, clock, front } = o
  const { limits, https, mqtt } = config
  const failures = metrics.counter('sallyport_https_failures_total', 'Requests not served, by reason', [
    'reason',
  ])
  const handshakes = metrics.counter('sallyport_handshake_failures_total', 'TLS handshakes that failed', [
    'door',
  ])
  const dropped = metrics.counter('sallyport_connections_dropped_total', 'Connections above the limit', [
    'door',
  ])
  const refused = metrics.counter(
    'sallyport_connections_refused_total',
    'Connections of an address that had too many in a minute',
    ['door'],
  )

  const origins = createOrigins({ timeout: https.origin_timeout, clock })
  // and the one that is listened on, when it is known
  const ports: number[] = https.public_port === undefined ? [] : [https.public_port]
  const deps: ExchangeDeps = {
    ...o,
    origins,
    shares: createShares(limits.max_connections),
    rates: createRates({ perMinute: https.requests_per_certificate, clock }),
    routeOf: createRoutes({ timeout: https.origin_timeout, bodyLimit: https.body_limit }),
    bodyLeast: https.body_least,
    ports,
    publisher:
      front &&
      createPublisher({
        upstream: front.upstream,
        timeout: mqtt.upstream_timeout,
        log,
        metrics,
        clock,
        random: Math.random,
      }),
    frameLimit: mqtt.frame_limit,
    mqttWebSockets:
      front &&
      createMqttWebSockets({
        front,
        largest: Math.max(mqtt.frame_limit, mqtt.connect_limit),
        clock,
        isDraining: () => closed !== undefined,
      }),
    failed: (reason) => {
      failures.inc({ reason })
    },
  }

  const server = createHttpServer({
    tls: contexts.server,
    headerBytes: limits.header_bytes,
    headerTimeout: limits.header_timeout,
    idleTimeout: o.idleWithin ?? IDLE,
  })

  // ---- requests

  const turns = createTurns({
    clock,
    serve: (connection, turn) => {
      try {
        const exchange = startExchange(deps, connection, turn)
        if (exchange?.isNamed === true) crowd.admit(connection.socket)
        return exchange
      } catch (err) {
        const requestId = newRequestId()
        failures.inc({ reason: 'internal' })
        log.error({ err, request_id: requestId }, 'broken')
        connection.close()
        replyProblem(turn.request, turn.response, err, requestId)
        return undefined
      }
    },
    idle: (socket) => {
      crowd.idle(socket)
    },
    failed: (err) => {
      failures.inc({ reason: 'internal' })
      log.error({ err }, 'broken')
    },
    longest: https.max_connection,
    patience: https.origin_timeout,
  })
  const arrive =
    (expectation: Expectation) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      turns.arrive({ request, response, expectation, early: undefined })
    }
  server.on('request', arrive('none'))
  server.on('checkContinue', arrive('continue'))
  server.on('checkExpectation', arrive('unknown'))
  server.on('upgrade', (request, socket, early) => {
    turns.arrive({ request, response: responseOn(request, socket), expectation: 'none', early })
  })
  server.on('connect', (_, socket) => {
    if (connectionOf(socket) !== undefined) socket.destroy()
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
    const isGone = !socket.writable || socket.destroyed
    const problem = parserError(error)
    if (isGone || (error as NodeJS.ErrnoException).code === 'ECONNRESET') socket.destroy()
    // behind a request that is being served: it must not take that one's answer away
    else if (!turns.broken(socket as TLSSocket, problem)) refuseRaw(socket as Socket, problem)
  })
  server.on('tlsClientError', (err, socket) => {
    handshakes.inc({ door: 'https' })
    log.debug({ err, address: addressOf(socket) }, 'TLS handshake failed')
    socket.destroy()
  })
  server.on('secureConnection', (socket) => {
    noteHandshake(socket, clock())
  })

  // ---- its life

  const crowd = createCrowd({
    most: limits.max_connections,
    dropped: () => {
      dropped.inc({ door: 'https' })
    },
  })
  const arrivals = createRates({ perMinute: https.connections_per_address, clock })
  server.on('connection', (socket: Socket) => {
    if (arrivals.take(limitKey(addressOf(socket))) > 0) {
      refused.inc({ door: 'https' })
      socket.destroy()
    } else crowd.enter(socket)
  })
  contexts.onReload((options) => {
    server.setSecureContext(options)
  })
  const { host, port } = await listen(server, config.gateway.https_listen)
  ports.push(port)
  server.on('error', (err) => {
    log.error({ err }, 'the HTTPS listener failed')
  })

  let closed: Promise<unknown> | undefined
  const close = async (within = o.drainWithin ?? DRAIN, grace = GRACE): Promise<void> => {
    if (closed === undefined) {
      closed = once(server, 'close')
      // not server.close(): it ends at once whoever has not asked for anything yet, and his request may be on its way
      TlsServer.prototype.close.call(server)
    }
    turns.drain()
    // an answer that is on its way may arrive; whoever has not asked for anything is not waited for
    const timers = [setTimeout(() => crowd.dismiss(), grace), setTimeout(() => crowd.close(), within)]
    await closed
    for (const timer of timers) clearTimeout(timer)
    // its watch over slow headers
    server.close()
    turns[Symbol.dispose]()
    await Promise.all([origins[Symbol.asyncDispose](), deps.publisher?.[Symbol.asyncDispose]()])
  }
  return { url: urlFor('https', host, port), close, [Symbol.asyncDispose]: () => close() }
}
