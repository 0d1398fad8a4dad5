/**
 * One admitted request to its origin and the answer back, streaming both ways at the pace of the slower side. Not who may, nor
 * what the headers say. The client is told exactly once: an answer, a problem, or a connection that breaks.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import { FleetError } from '#fleet/errors.ts'
import type { Origin } from './origins.ts'
import { answerEarly } from './reply.ts'
import { responseHeaders } from './response-headers.ts'
import { clientGone, upload } from './upload.ts'

export type Forwarded = {
  /** Ends it without an answer to the client: the caller gives that. */
  abort(): void
}

/** undici's words for a silent origin; every other failure is an origin that is not there. */
const SILENT: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
])
/** The request itself could not be written: what the client said is not HTTP that we forward. */
const UNSENDABLE: ReadonlySet<string> = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_NOT_SUPPORTED',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
])

const problemOf = (error: unknown): FleetError => {
  if (error instanceof FleetError) return error
  const code = (error as { code?: string }).code ?? ''
  if (SILENT.has(code))
    return new FleetError('origin_timeout', 'the origin did not answer in time', { cause: error })
  if (UNSENDABLE.has(code))
    return new FleetError('bad_request', 'the request cannot be forwarded', { cause: error })
  return new FleetError('origin_unreachable', 'the origin did not answer', { cause: error })
}

/**
 * @param o.timeout ms until the origin's header, counted from the last octet that the client sent; and between two reads of a client
 * @param o.onFailure exactly once, unless an answer went out whole or the client left: tell the client
 */
export const forward = (o: {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly origin: Origin
  readonly target: string
  readonly headers: string[]
  readonly hasBody: boolean
  readonly bodyLimit: number
  /** octets of a body per `timeout` */
  readonly bodyLeast: number
  readonly timeout: number
  readonly onFailure: (error: FleetError) => void
}): Forwarded => {
  const { request, response } = o
  let controller: Dispatcher.DispatchController | undefined
  /** the answer is out, the client is gone or was told: whatever still happens is nobody's */
  let over = false
  let bodyBegun = false

  const end = (reason: Error): void => {
    if (over) return
    over = true
    clearTimeout(timer)
    sent?.stop()
    controller?.abort(reason)
  }
  const fail = (error: unknown): void => {
    if (over) return
    const problem = problemOf(error)
    end(problem)
    if (error !== clientGone) o.onFailure(problem)
  }
  const timer = setTimeout(() => {
    // is it the origin that does not read, or the client that does not send?
    fail(
      sent?.waitsForClient() === true
        ? new FleetError('request_timeout', 'the body stopped arriving')
        : new FleetError('origin_timeout', 'the origin did not answer in time'),
    )
  }, o.timeout)

  const limits = { most: o.bodyLimit, least: o.bodyLeast, within: o.timeout }
  const sent = o.hasBody ? upload(request, limits, () => timer.refresh()) : undefined
  const body = sent?.body ?? null
  body?.once('error', fail)
  response.once('close', () => {
    if (!response.writableFinished) end(clientGone)
  })

  // the type leaves out what the dispatcher takes (undici/lib/core/request.js)
  const options: Dispatcher.DispatchOptions & { servername?: string } = {
    path: o.target,
    method: request.method as Dispatcher.HttpMethod,
    headers: o.headers,
    body,
    ...(o.origin.serverName === undefined ? {} : { servername: o.origin.serverName }),
  }
  o.origin.pool.dispatch(options, {
    onRequestStart: (started) => {
      controller = started
      if (over) started.abort(clientGone)
    },
    onResponseStart: (_, status, headers) => {
      // RFC 9110 §15.2: interim answers are for this hop, which asked for none
      if (status < 200 || over) return
      clearTimeout(timer)
      answerEarly(request)
      response.writeHead(status, responseHeaders(headers))
      // Node keeps the header until there is a body. One that came along goes in the same packet; nobody waits for a later one.
      process.nextTick(() => {
        if (!over && !bodyBegun) response.flushHeaders()
      })
    },
    onResponseData: (started, chunk) => {
      bodyBegun = true
      if (over || response.write(chunk)) return
      started.pause()
      // whoever does not read may not hold a connection and an origin for ever
      const stalled = setTimeout(() => request.socket.destroy(), o.timeout)
      const clear = (): void => {
        clearTimeout(stalled)
      }
      response.once('drain', () => {
        clear()
        response.off('close', clear)
        started.resume()
      })
      response.once('close', clear)
    },
    onResponseEnd: () => {
      if (over) return
      over = true
      clearTimeout(timer)
      // the origin may answer before it has read all: what the client still sends is nobody's
      sent?.stop()
      if (!request.complete) request.resume()
      response.end()
    },
    onResponseError: (_, error) => {
      fail(error)
    },
  })

  return {
    abort: () => {
      end(clientGone)
    },
  }
}
