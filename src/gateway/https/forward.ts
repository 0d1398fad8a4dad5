/**
 * One admitted request to its origin and the answer back, streaming both ways at the pace of the slower side. Not who may, nor
 * what the headers say. The client is told exactly once: an answer, a problem, or a connection that breaks.
 *
 * When no connection to an origin can be made the next one is asked. Once a request may have been seen it is never said again.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import { FleetError } from '#fleet/errors.ts'
import type { Origin, Origins } from './origins.ts'
import { answerEarly } from './reply.ts'
import type { Route } from './routes.ts'
import { clientGone, upload } from './upload.ts'

type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2]

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

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? ''

const problemOf = (error: unknown): FleetError => {
  if (error instanceof FleetError) return error
  const code = codeOf(error)
  if (SILENT.has(code))
    return new FleetError('origin_timeout', 'the origin did not answer in time', { cause: error })
  if (UNSENDABLE.has(code))
    return new FleetError('bad_request', 'the request cannot be forwarded', { cause: error })
  return new FleetError('origin_unreachable', 'the origin did not answer', { cause: error })
}

/**
 * @param o.route its `timeout`: ms until the origin's header, counted from the last octet that the client sent
 * @param o.bodyLeast octets of a body per `timeout`
 * @param o.headersFor the client's header, from the origin's: name, value, …
 * @param o.onUpgrade undefined: no WebSocket was asked for
 * @param o.onFailure exactly once, unless an answer went out whole or the client left: tell the client
 */
export const forward = (o: {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly origins: Origins
  readonly route: Route
  readonly target: string
  readonly headers: string[]
  readonly hasBody: boolean
  readonly bodyLeast: number
  readonly headersFor: (status: number, headers: Headers) => string[]
  readonly onUpgrade: ((headers: Headers, socket: Duplex) => void) | undefined
  readonly onFailure: (error: FleetError) => void
}): Forwarded => {
  const { request, response, origins, route } = o
  const { timeout } = route
  /** undefined: nothing was said to any origin yet */
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
  }, timeout)

  const limits = { most: route.bodyLimit, least: o.bodyLeast, within: timeout }
  const sent = o.hasBody ? upload(request, limits, () => timer.refresh()) : undefined
  const body = sent?.body ?? null
  body?.once('error', fail)

  const answer: Dispatcher.DispatchHandler = {
    onRequestStart: (started) => {
      controller = started
      if (over) started.abort(clientGone)
      else if (asked !== undefined) asked.deadUntil = 0
    },
    onRequestUpgrade: (_, __, headers, socket) => {
      clearTimeout(timer)
      if (over || o.onUpgrade === undefined) {
        socket.destroy()
        return
      }
      over = true
      o.onUpgrade(headers, socket)
    },
    onResponseStart: (_, status, headers) => {
      // RFC 9110 §15.2: interim answers are for this hop, which asked for none
      if (status < 200 || over) return
      clearTimeout(timer)
      answerEarly(request)
      response.writeHead(status, o.headersFor(status, headers))
      // Node keeps the header until there is a body. One that came along goes in the same packet; nobody waits for a later one.
      process.nextTick(() => {
        if (!over && !bodyBegun) response.flushHeaders()
      })
    },
    onResponseData: (started, chunk) => {
      bodyBegun = true
      if (over || response.write(chunk)) return
      started.pause()
      // a client that never reads: turns.ts sees it
      response.once('drain', () => {
        started.resume()
      })
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
      // nobody has heard of it yet
      const isUnsaid = controller === undefined && !over && !UNSENDABLE.has(codeOf(error))
      if (!isUnsaid || asked === undefined || route.addresses.length === 1) return fail(error)
      origins.dead(asked)
      tried ??= new Set()
      tried.add(asked)
      ask(error)
    },
  }

  // the type leaves out what the dispatcher takes (undici/lib/core/request.js)
  const options: Dispatcher.DispatchOptions & { servername?: string } = {
    path: o.target,
    method: request.method as Dispatcher.HttpMethod,
    headers: o.headers,
    body,
    bodyTimeout: timeout,
    ...(o.onUpgrade === undefined ? {} : { upgrade: 'websocket' }),
  }
  let asked: Origin | undefined
  let tried: Set<Origin> | undefined

  /** @param before what the one before it failed with */
  const ask = (before: unknown): void => {
    try {
      asked = origins.pick(route.addresses, tried)
    } catch (error) {
      return fail(error)
    }
    if (asked === undefined) return fail(before)
    options.servername = asked.serverName
    asked.pool.dispatch(options, answer)
  }
  ask(undefined)

  return {
    abort: () => {
      end(clientGone)
    },
  }
}
