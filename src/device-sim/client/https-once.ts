/** One HTTP/1.1 request on one fresh TLS connection, as "No Duration" wants it. Not an agent: there is nothing to reuse. */

import { request, type IncomingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import { openConnection, unreachable, type ConnectOptions } from './connection.ts'
import type { Meter } from './meter.ts'

export type HttpRequest = {
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
  /** ms, from the first byte sent to the last received */
  readonly timeout?: number | undefined
}

export type Answer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** the `reason` of a problem document (RFC 9457) */
  readonly reason: string | undefined
}

export type HttpsAnswer = Answer & {
  readonly resumed: boolean
  readonly tlsVersion: string
  /** with `keepSession`: what could be presented to resume this connection */
  readonly session: Buffer | undefined
  /** ms, handshake included */
  readonly millis: number
}

const DEFAULT_TIMEOUT = 10_000
const MAX_BODY = 1 << 20

const reasonOf = (headers: IncomingHttpHeaders, body: Buffer): string | undefined => {
  if (!headers['content-type']?.startsWith('application/problem+json')) return undefined
  try {
    const problem: unknown = JSON.parse(body.toString())
    if (typeof problem !== 'object' || problem === null || !('reason' in problem)) return undefined
    return typeof problem.reason === 'string' ? problem.reason : undefined
  } catch {
    return undefined
  }
}

/** One request over a connection that is already open; the connection is destroyed afterwards. @throws `target_unreachable` */
export const exchange = async (
  socket: Duplex,
  url: URL,
  o: HttpRequest & { readonly signal?: AbortSignal | undefined; readonly meter?: Meter | undefined },
): Promise<Answer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const method = o.method ?? 'GET'
  const fail = (why: unknown): void => reject(unreachable(url, why))
  const onAbort = (): void => fail('given up')
  const timer = setTimeout(() => fail('no answer in time'), o.timeout ?? DEFAULT_TIMEOUT)
  o.signal?.addEventListener('abort', onAbort)
  if (o.signal?.aborted) onAbort()

  const asking = request({
    createConnection: () => socket,
    method,
    path: url.pathname + url.search,
    headers: {
      host: url.host,
      ...(o.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(o.body)) }),
      ...o.headers,
    },
  })
  asking.on('error', fail)
  asking.once('close', () => fail('closed before an answer'))
  asking.once('response', (response) => {
    const parts: Buffer[] = []
    let size = 0
    response.on('error', fail)
    response.on('data', (part: Buffer) => {
      size += part.length
      if (size > MAX_BODY) fail('the answer is too long')
      else parts.push(part)
    })
    response.once('end', () => {
      const body = Buffer.concat(parts)
      const raw = [...response.rawHeaders, ...response.rawTrailers]
      o.meter?.answer(`${method} ${url.origin}${url.pathname}`, raw, body)
      const { headers } = response
      resolve({ status: response.statusCode ?? 0, headers, body, reason: reasonOf(headers, body) })
    })
  })
  asking.end(o.body)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    o.signal?.removeEventListener('abort', onAbort)
    asking.destroy()
    socket.destroy()
  }
}

/** @throws `target_unreachable`. A refusal is an answer, not an error. */
export const httpsOnce = async (
  o: HttpRequest & Omit<ConnectOptions, 'url' | 'alpn'> & { readonly url: string },
): Promise<HttpsAnswer> => {
  const url = new URL(o.url)
  const began = performance.now()
  const connection = await openConnection({ ...o, url, alpn: ['http/1.1'] })
  const answer = await exchange(connection.socket, url, o)
  return {
    ...answer,
    resumed: connection.resumed,
    tlsVersion: connection.tlsVersion,
    session: connection.latestSession(),
    millis: performance.now() - began,
  }
}
