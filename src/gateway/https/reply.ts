/**
 * Answers of the door itself, as RFC 9457 problems or pages: on a response, or on a bare socket when there is no request to answer.
 * Not the table of statuses: #wire/problems.ts.
 */

import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import { problemReply } from '#runtime/problem-reply.ts'
import { problemOf } from '#wire/problems.ts'
import { prefersHtml } from './accept.ts'
import { PAGE_HEADERS, PAGE_TYPE, pageOf } from './page.ts'
import { ownHeaders, type Fate } from './response-headers.ts'

/** ms in which a client that is still sending may read its answer before the connection goes. */
const LINGER = 2_000

/**
 * Closing a socket with unread octets makes the kernel send a reset, which destroys the answer on its way. So when the client is
 * still sending: half-close, throw away what comes, end after a moment.
 */
export const lingerOn = (socket: Socket): void => {
  socket.resume()
  endSoon(socket)
}

const endSoon = (socket: Socket): void => {
  socket.end()
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

/** The answers that are under way arrive, the last one too; what the client says beside them is left where it is. */
export const stopReading = (socket: Socket): void => {
  socket.pause()
  socket.destroySoon = () => {
    endSoon(socket)
  }
}

/**
 * RFC 9110 §11.6.1 wants a scheme; this one stands for "a client certificate, or the two fields of a service token", of which neither fits into
 * Authorization.
 */
const CHALLENGE = 'Cf-Access'

/** Of what goes to origins; WebDAV's are not worth their length. */
const USUAL = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** RFC 9110 §15.5.6: a 405 says which methods there are. */
const allowOf = (error: unknown): string =>
  ((error instanceof FleetError ? error.allow : undefined) ?? USUAL).join(', ')

/** RFC 9110 §15.5.22, RFC 6455 §4.4: a 426 says which protocol, and which version of it. The door upgrades to nothing else. */
const NEEDED = ['Upgrade', 'websocket', 'Sec-WebSocket-Version', '13']

/** Names and values that describe a page in place of a problem document. */
const asPage = (headers: Readonly<Record<string, string>>, page: string): string[] => {
  const { 'content-type': _, 'content-length': __, ...rest } = headers
  return [
    ...Object.entries(rest).flat(),
    ...PAGE_HEADERS,
    'Content-Type',
    PAGE_TYPE,
    'Content-Length',
    String(Buffer.byteLength(page)),
  ]
}

/**
 * A page for browsers, else a problem document. Nothing when an answer has begun: then only the end of the connection can say that it is not
 * whole.
 * @param cookies values of Set-Cookie
 */
export const replyProblem = (
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  requestId: string,
  fate: Fate = 'close',
  cookies: readonly string[] = [],
): void => {
  if (response.headersSent) {
    request.socket.destroy()
    return
  }
  const { status, headers, body } = problemReply(error, requestId, CHALLENGE)
  const page = prefersHtml(request.headers.accept) ? pageOf(problemOf(error, requestId)) : undefined
  if (fate === 'close') answerEarly(request)
  const own = ownHeaders(fate)
  if (status === 405) own.push('Allow', allowOf(error))
  if (status === 426) own.push(...NEEDED)
  for (const cookie of cookies) own.push('Set-Cookie', cookie)
  own.push(...(page === undefined ? Object.entries(headers).flat() : asPage(headers, page)))
  response.writeHead(status, own)
  response.end(request.method === 'HEAD' ? undefined : (page ?? body))
  if (!request.complete) request.resume()
}

/** @param headers name, value, …, in which there is no line break @returns a whole header */
export const headText = (status: number, headers: readonly string[]): string => {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`
  return `${head}\r\n`
}

/** For a socket on which no request came to be. */
export const replyProblemRaw = (socket: Socket, error: FleetError, requestId: string): void => {
  const { status, headers, body } = problemReply(error, requestId, CHALLENGE)
  const own = ownHeaders('close')
  if (status === 405) own.push('Allow', allowOf(error))
  own.push(...Object.entries(headers).flat())
  socket.write(`${headText(status, own)}${body}`)
  lingerOn(socket)
}
