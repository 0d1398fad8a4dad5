/** One HTTP/1.1 request on one fresh TLS connection, as "No Duration" wants it. Not an agent: there is nothing to reuse. */

import { request, type IncomingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import { onAbort } from '../on-abort.ts'
import { dial, unreachable, type ConnectOptions, type Connection } from './connection.ts'
import type { Meter } from './meter.ts'
import { objectIn } from './refusal.ts'

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
const HTTP_1 = ['http/1.1']
/** of an answer (RFC 9110 §15); what is below is interim, and what is not of three digits is none */
const LEAST_STATUS = 200
const MOST_STATUS = 599
const NOTHING = new Uint8Array()

const reasonOf = (headers: IncomingHttpHeaders, body: Buffer): string | undefined => {
  if (!headers['content-type']?.startsWith('application/problem+json')) return undefined
  const { reason } = objectIn(body)
  return typeof reason === 'string' ? reason : undefined
}

/** One request over a connection that is already open; the connection is destroyed afterwards. @throws `target_unreachable` */
export const exchange = (
  socket: Duplex,
  url: URL,
  o: HttpRequest & { readonly signal?: AbortSignal | undefined; readonly meter?: Meter | undefined },
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const method = o.method ?? 'GET'
    let pending = true
    const settle = (): void => {
      pending = false
      clearTimeout(timer)
      unheard?.()
      socket.destroy()
    }
    const fail = (why: unknown): void => {
      if (!pending) return
      settle()
      reject(unreachable(url, why))
    }
    const timer = setTimeout(fail, o.timeout ?? DEFAULT_TIMEOUT, 'no answer in time')
    const unheard = o.signal && onAbort(o.signal, () => fail('given up'))
    if (o.signal?.aborted) return fail('given up')

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
    const from = `${method} ${url.origin}${url.pathname}`
    // no answer (RFC 9110 §15.2), and all the same something that came back
    asking.on('information', ({ rawHeaders }) => o.meter?.answer(from, rawHeaders, NOTHING))
    asking.once('response', (response) => {
      const status = response.statusCode ?? 0
      if (status < LEAST_STATUS || status > MOST_STATUS) return fail('bad answer')
      const parts: Buffer[] = []
      let size = 0
      response.on('error', fail)
      response.on('data', (part: Buffer) => {
        size += part.length
        if (size > MAX_BODY) fail('the answer is too long')
        else parts.push(part)
      })
      response.once('end', () => {
        if (!pending) return
        settle()
        const body = Buffer.concat(parts)
        const phrase = ['reason phrase', response.statusMessage ?? '']
        o.meter?.answer(from, [...phrase, ...response.rawHeaders, ...response.rawTrailers], body)
        const { headers } = response
        resolve({ status, headers, body, reason: reasonOf(headers, body) })
      })
    })
    asking.end(o.body)
  })

/** @throws `target_unreachable`. A refusal is an answer, not an error. */
export const httpsOnce = (
  o: HttpRequest & Omit<ConnectOptions, 'url' | 'alpn'> & { readonly url: string },
): Promise<HttpsAnswer> =>
  new Promise((resolve, reject) => {
    const url = new URL(o.url)
    const began = performance.now()
    const ask = (connection: Connection): void => {
      const { resumed, tlsVersion } = connection
      exchange(connection.socket, url, o).then((answer) => {
        const session = connection.latestSession()
        resolve({ ...answer, resumed, tlsVersion, session, millis: performance.now() - began })
      }, reject)
    }
    dial({ ...o, url, alpn: HTTP_1 }, ask, reject)
  })
