/**
 * The pipe to the enroll desk: what devices ask over MQTT goes to `POST /v1/relay/enroll` with this gateway's own certificate, and what is answered
 * comes back as it is. Bounded in how many at once, how long and how large. Nothing is decided here: enroll verifies all of it itself.
 */

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { buildConnector, Pool, type Dispatcher } from 'undici'
import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificates } from '#pki/certificate.ts'
import type { Log } from '#runtime/log.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { openServerIdentity, type ServerIdentity } from '#runtime/server-identity.ts'
import { problemOf } from '#wire/problems.ts'
import { RELAY_HEADER, RELAY_PATH, type RelayRequest } from '#wire/relay.ts'

/** `body`: JSON, of the answer or the problem document. `reason`: of a problem */
export type Relayed = { readonly accepted: boolean; readonly body: Buffer; readonly reason?: string }

export type Relay = AsyncDisposable & {
  /** of its own certificate, ms */
  readonly notAfter: () => number
  /** Never rejects: what cannot be asked is answered by a problem document of this gateway. */
  ask(request: RelayRequest): Promise<Relayed>
}

const MOST_AT_ONCE = 64
const CONNECTIONS = 8
const CONNECT_TIMEOUT = 5 * SECOND
/** Enroll may ask a webhook meanwhile. */
const ANSWER_TIMEOUT = 30 * SECOND
/** Shorter than enroll keeps its own. */
const KEEP_ALIVE = 4 * SECOND
const LARGEST_ANSWER = 256 * 1024

/** A connection that enroll has just closed: the same again is the same certificate, so it may be asked twice. */
const AGAIN: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** @param retryAfter seconds */
export const refusalOf = (error: FleetError, retryAfter = error.retryAfter): Relayed => ({
  accepted: false,
  reason: error.code,
  body: Buffer.from(
    JSON.stringify({
      ...problemOf(error, newRequestId()),
      ...(retryAfter === undefined ? {} : { retry_after: retryAfter }),
    }),
  ),
})

const unreachable = (cause?: unknown): FleetError =>
  new FleetError('target_unreachable', 'enrolment is not possible now: ask again later', {
    cause,
    retryAfter: 5,
  })

const readAll = async (body: Dispatcher.ResponseData['body']): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > LARGEST_ANSWER) throw new FleetError('internal', 'an answer that is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A device has no header to read: when to ask again goes into the document (RFC 9457 §3.2). */
const problemFrom = (body: Buffer, retryAfter: unknown): Relayed => {
  const problem = JSON.parse(body.toString()) as Record<string, unknown>
  const seconds = Number(retryAfter)
  return {
    accepted: false,
    reason: String(problem['reason']),
    body: Buffer.from(
      JSON.stringify({
        ...problem,
        ...(Number.isInteger(seconds) && seconds > 0 ? { retry_after: seconds } : {}),
      }),
    ),
  }
}

/**
 * @param o.url of the device listener
 * @param o.identity its certificate, which may change
 * @param o.ca PEM: roots by which enroll's certificate is verified
 * @param o.timeout ms for an answer
 */
export const createRelay = (o: {
  readonly url: string
  readonly identity: Pick<ServerIdentity, 'current' | 'onChange'>
  readonly ca: string
  readonly log: Log
  readonly timeout?: number
}): Relay => {
  const { log, timeout = ANSWER_TIMEOUT } = o
  const url = new URL(o.url)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const path = `${url.pathname.replace(/\/$/, '')}${RELAY_PATH}`
  let atOnce = 0

  const open = (): Pool =>
    new Pool(url.origin, {
      connections: CONNECTIONS,
      pipelining: 1,
      allowH2: false,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
      connect: buildConnector({
        ...o.identity.current(),
        ca: o.ca,
        minVersion: 'TLSv1.2',
        allowH2: false,
        timeout: Math.min(CONNECT_TIMEOUT, timeout),
        // enroll refuses a resumed handshake, so none is kept for it
        maxCachedSessions: 0,
        ...(isIP(host) === 0 ? { servername: host } : {}),
      }),
    })
  let pool = open()
  o.identity.onChange(() => {
    const before = pool
    pool = open()
    // what is under way on it is answered first
    before.close().catch(() => {})
  })

  const send = async (body: string, again = true): Promise<Relayed> => {
    try {
      const answer = await pool.request({
        method: 'POST',
        path,
        headers: { 'content-type': 'application/json' },
        body,
      })
      const read = await readAll(answer.body)
      // said only to a gateway that enroll has let in: anything else is between the two of us, and not the device's fault
      if (answer.headers[RELAY_HEADER] === undefined) {
        log.error(
          { status: answer.statusCode, answer: read.toString('utf8', 0, 512) },
          'enroll does not take this gateway',
        )
        return refusalOf(unreachable())
      }
      return answer.statusCode < 300
        ? { accepted: true, body: read }
        : problemFrom(read, answer.headers['retry-after'])
    } catch (err) {
      if (again && AGAIN.has((err as { code?: string }).code ?? '')) return send(body, false)
      log.warn({ err }, 'enroll does not answer')
      return refusalOf(unreachable(err))
    }
  }

  return {
    notAfter: () => readCertificates(o.identity.current().cert)[0]?.notAfter ?? 0,
    ask: async (request) => {
      if (atOnce >= MOST_AT_ONCE)
        return refusalOf(
          new FleetError('rate_limited', 'too many enrol at once: ask again later', { retryAfter: 2 }),
        )
      atOnce += 1
      try {
        return await send(JSON.stringify(request))
      } finally {
        atOnce -= 1
      }
    },
    [Symbol.asyncDispose]: () => pool.destroy(),
  }
}

/** @throws FleetError `config_invalid`: a file that cannot be used */
export const openRelay = (
  o: { readonly url: string; readonly cert: string; readonly key: string; readonly ca: string },
  log: Log,
): Relay => {
  let ca: string
  try {
    ca = readFileSync(o.ca, 'utf8')
  } catch (cause) {
    throw new FleetError('config_invalid', `gateway.relay_ca: ${o.ca} cannot be read`, { cause })
  }
  const identity = openServerIdentity(o, log, undefined, {
    cert: 'gateway.relay_cert',
    key: 'gateway.relay_key',
  })
  const relay = createRelay({ url: o.url, identity, ca, log })
  return {
    ...relay,
    async [Symbol.asyncDispose]() {
      identity[Symbol.dispose]()
      await relay[Symbol.asyncDispose]()
    },
  }
}
