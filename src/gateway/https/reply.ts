/**
 * Answers of the door itself, as RFC 9457 problems: on a response, or on a bare socket when there is no request to answer.
 * Not the table of statuses: #wire/problems.ts.
 */

import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FleetError } from '#fleet/errors.ts'
import { problemReply } from '#runtime/problem-reply.ts'
import { ownHeaders } from './response-headers.ts'

/** ms in which a client that is still sending may read its answer before the connection goes. */
const LINGER = 2_000

/**
 * Closing a socket with unread octets makes the kernel send a reset, which destroys the answer on its way. So when the client is
 * still sending: half-close, throw away what comes, end after a moment.
 */
const lingerOn = (socket: Socket): void => {
  socket.end()
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LINGER)
  socket.once('close', () => {
    clearTimeout(timer)
  })
}

/** Before an answer that may come earlier than the end of the request. */
export const answerEarly = (request: IncomingMessage): void => {
  if (request.complete) return
  const { socket } = request
  // Node calls it when the last response of a connection is out
  socket.destroySoon = () => {
    lingerOn(socket)
  }
}

/** Nothing when an answer has begun: then only the end of the connection can say that it is not whole. */
export const replyProblem = (
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  requestId: string,
): void => {
  if (response.headersSent) {
    request.socket.destroy()
    return
  }
  const { status, headers, body } = problemReply(error, requestId)
  answerEarly(request)
  const own = ownHeaders()
  // RFC 9110 §15.5.6: says which methods there are; WebDAV's are not worth their length
  if (status === 405) own.push('Allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS')
  for (const [name, value] of Object.entries(headers)) own.push(name, value)
  response.writeHead(status, own)
  response.end(request.method === 'HEAD' ? undefined : body)
  if (!request.complete) request.resume()
}

/** The public keys of assertions (RFC 7517). */
export const replyJwks = (request: IncomingMessage, response: ServerResponse, jwks: string): void => {
  answerEarly(request)
  response.writeHead(200, [
    ...ownHeaders(),
    'Content-Type',
    'application/json',
    'Content-Length',
    String(Buffer.byteLength(jwks)),
    // a new key is used at once: whoever meets an unknown kid fetches again
    'Cache-Control',
    'public, max-age=300',
  ])
  response.end(request.method === 'HEAD' ? undefined : jwks)
}

/** For a socket on which no request came to be. */
export const replyProblemRaw = (socket: Socket, error: FleetError, requestId: string): void => {
  const { status, headers, body } = problemReply(error, requestId)
  const own = ownHeaders()
  for (const [name, value] of Object.entries(headers)) own.push(name, value)
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let at = 0; at < own.length; at += 2) head += `${own[at]}: ${own[at + 1]}\r\n`
  socket.write(`${head}\r\n${body}`)
  lingerOn(socket)
}
