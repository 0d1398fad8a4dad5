/**
 * What Node's HTTP parser keeps from fastify: requests that are too large, too slow or no HTTP, CONNECT, and expectations. Each is answered
 * with a problem document and told to a witness. Not what fastify refuses itself: http-app.ts.
 */

import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { problemReply } from '#runtime/problem-reply.ts'
import { newRequestId } from '#runtime/request-id.ts'

/** RFC 9110 §15.5: what Node's parser refuses before there is a request. */
const CLIENT_ERRORS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'the headers are larger than this listener takes'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['body_too_large', 'the chunk extensions are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'the request took too long to arrive'],
}

/** For a socket on which there is no response to write to. */
const endWithProblem = (socket: Duplex, error: FleetError, requestId: string): void => {
  const { status, headers, body } = problemReply(error, requestId)
  const lines = Object.entries({ ...headers, connection: 'close' }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`, () =>
    socket.destroy(),
  )
}

/** One log line and one count for each request that never becomes one of fastify's. */
type Witness = (error: FleetError, requestId: string, socket: Duplex) => void

/** @param witness called once for each, before it is answered */
export const refuseUnparsed = (server: Server, witness: Witness): void => {
  const end = (socket: Duplex, error: FleetError): void => {
    const requestId = newRequestId()
    witness(error, requestId, socket)
    endWithProblem(socket, error, requestId)
  }
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    const [code, detail] = CLIENT_ERRORS[error.code ?? ''] ?? [
      'bad_request',
      'this is not an HTTP/1.1 request',
    ]
    end(socket, new FleetError(code, detail))
  })
  // RFC 9110 §9.3.6; without a listener Node closes the connection and says nothing.
  server.on('connect', (_request, socket) => {
    socket.on('error', () => socket.destroy())
    end(socket, new FleetError('method_not_allowed', 'this is not a proxy'))
  })
  // RFC 9110 §10.1.1: an expectation that is not 100-continue; Node's own answer has no body.
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    const error = new FleetError('expectation_failed', 'only Expect: 100-continue is understood')
    const requestId = newRequestId()
    witness(error, requestId, request.socket)
    const { status, headers, body } = problemReply(error, requestId)
    request.resume()
    response.writeHead(status, { ...headers, connection: 'close' }).end(body)
  })
}
