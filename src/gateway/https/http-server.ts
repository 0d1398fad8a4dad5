/**
 * Node's HTTP server as the door wants it, what its parser's errors mean, and a response where Node gives none. Not what is done with a
 * request: turns.ts, exchange.ts.
 */

import { ServerResponse, type IncomingMessage } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TlsOptions } from 'node:tls'
import { FleetError } from '#fleet/errors.ts'
import { connectionOf, mayUpgrade } from './connection.ts'
import { lingerOn } from './reply.ts'
import { asksForWebSocket } from './websocket.ts'

/** Node's own code for it */
const NO_REQUEST = 'ERR_HTTP_REQUEST_TIMEOUT'

/**
 * A parser and its listeners are 12 KB, and a connection needs them when it says something: until its first octet it has one timer. Its header
 * is waited for from then on; for the first octet as long again. A client may take both, and no more.
 */
const attachLate = (server: Server, headerTimeout: number): void => {
  const attach = server.listeners('secureConnection')
  server.removeAllListeners('secureConnection')
  server.on('secureConnection', (socket) => {
    const begin = (): void => {
      clearTimeout(timer)
      socket.off('error', gone).off('close', gone)
      for (const each of attach) each.call(server, socket)
    }
    const gone = (): void => {
      clearTimeout(timer)
      socket.off('readable', begin).destroy()
    }
    const timer = setTimeout(() => {
      socket.off('readable', begin)
      server.emit('clientError', Object.assign(new Error('no request'), { code: NO_REQUEST }), socket)
    }, headerTimeout)
    socket.once('readable', begin).once('error', gone).once('close', gone)
  })
}

/** Times: ms. @param o.idleTimeout between an answer and the next request on a connection that stays */
export const createHttpServer = (o: {
  readonly tls: TlsOptions
  readonly headerBytes: number
  readonly headerTimeout: number
  readonly idleTimeout: number
}): Server => {
  const server = createServer({
    ...o.tls,
    maxHeaderSize: o.headerBytes,
    headersTimeout: o.headerTimeout,
    // a body may take long; it may not stand still: forward.ts
    requestTimeout: 0,
    keepAliveTimeout: o.idleTimeout,
    connectionsCheckingInterval: Math.max(50, Math.min(500, o.headerTimeout / 4)),
    // answered by the door, as a problem
    requireHostHeader: false,
    insecureHTTPParser: false,
    optimizeEmptyRequests: true,
    // every other Upgrade is an ordinary request, and refused in its turn
    shouldUpgradeCallback: (request) => asksForWebSocket(request) && mayUpgrade(request.socket),
  })
  // Node drops silently what is beyond it, and a field that we do not see is one that we do not judge; the size is bounded above
  server.maxHeadersCount = 0
  server.timeout = 0
  attachLate(server, o.headerTimeout)
  return server
}

/** Node's parser errors that have an answer of their own; the rest of what is not HTTP is 400. */
const PARSER_ERRORS: Readonly<Record<string, () => FleetError>> = {
  HPE_HEADER_OVERFLOW: () => new FleetError('headers_too_large', 'the request header is too large'),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: () => new FleetError('body_too_large', 'the chunk extensions are too large'),
  [NO_REQUEST]: () => new FleetError('request_timeout', 'the request header did not arrive in time'),
}
/** What a client is told of bytes that are no request. */
export const parserError = (error: Error): FleetError =>
  PARSER_ERRORS[(error as NodeJS.ErrnoException).code ?? '']?.() ??
  new FleetError('bad_request', 'this is not an HTTP request that we read', { cause: error })

/** Node gives the bare socket; until the origin has agreed, a response on it says what every other one says. */
export const responseOn = (request: IncomingMessage, socket: Duplex): ServerResponse => {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket as Socket)
  // Node has taken its own listeners off
  socket.on('error', () => socket.destroy())
  socket.once('end', () => {
    if (connectionOf(socket)?.kind !== 'tunnel') socket.destroy()
  })
  socket.on('drain', () => {
    if (!response.writableFinished) response.emit('drain')
  })
  response.once('finish', () => {
    lingerOn(socket as Socket)
  })
  return response
}
