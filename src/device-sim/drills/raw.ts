/** Exactly these octets on one connection, and what comes back until it ends: for what no HTTP client would say. Not a client. */

import type { SecureContext } from 'node:tls'
import type { ErrorCode } from '#fleet/errors.ts'
import { PROBLEMS } from '#wire/problems.ts'
import { openConnection } from '../client/connection.ts'
import { pause } from '../waiting.ts'
import { wordOfAnswer } from '../words.ts'
import type { Stage } from './stage.ts'

export type RawAnswer = {
  /** of every answer, in order; those that are interim (RFC 9110 §15.2) are none */
  readonly statuses: readonly number[]
  /** of every problem document, in order */
  readonly reasons: readonly string[]
  /** did the server end the connection? Not when it would not stop speaking, and we did */
  readonly closed: boolean
  readonly text: string
}

export type Saying = {
  /** `https://…` or `mqtts://…` */
  readonly url: string
  readonly context: SecureContext
  readonly alpn?: readonly string[]
  /** SNI, when it is not the host's name */
  readonly serverName?: string | undefined
  /** for the evidence; holds no secret */
  readonly what: string
  /** ms between one text of what is said and the next */
  readonly pace?: number
  /** ms for the server to end the connection by itself */
  readonly within?: number
}

const WITHIN = 6_000
const MOST = 1 << 20
const STATUS = /HTTP\/1\.[01] ([2-9]\d{2}) /g
const REASON = /"reason":\s*"([a-z_]+)"/g

/** @param octets said one after the other, `pace` apart; nothing else is. @throws `target_unreachable` */
export const sayRaw = async (
  { signal, meter }: Pick<Stage, 'signal' | 'meter'>,
  o: Saying,
  ...octets: readonly (string | Uint8Array)[]
): Promise<RawAnswer> => {
  const { url, what, pace, within = WITHIN } = o
  const { socket } = await openConnection({ ...o, url: new URL(url), signal, meter })
  const parts: Buffer[] = []
  let size = 0
  let closed = false
  const ended = new AbortController()
  socket.on('data', (part: Buffer) => {
    size += part.length
    if (size <= MOST) parts.push(part)
    else ended.abort()
  })
  socket.once('end', () => (closed = true))
  socket.once('close', () => {
    closed ||= !ended.signal.aborted
    ended.abort()
  })
  for (const [at, each] of octets.entries()) {
    if (at > 0 && pace !== undefined) await pause(pace, signal, ended.signal)
    socket.write(each)
  }
  await pause(within, signal, ended.signal)
  const byServer = closed
  socket.destroy()
  const body = Buffer.concat(parts)
  meter.answer(what, [], body)
  const text = body.toString('latin1')
  return {
    statuses: Array.from(text.matchAll(STATUS), ([, status]) => Number(status)),
    reasons: Array.from(text.matchAll(REASON), ([, reason = '']) => reason),
    closed: byServer,
    text,
  }
}

/** What it is counted under. */
export const wordOfRaw = ({ statuses: [status], reasons: [reason] }: RawAnswer): string =>
  status === undefined ? 'http_nothing' : wordOfAnswer(status, reason)

/** Refused once, for this reason, with the status that belongs to it, and the end. @returns what was wrong; undefined: it was */
export const wasTurnedAway = (reason: ErrorCode, answer: RawAnswer): string | undefined => {
  const { status } = PROBLEMS[reason]
  const { statuses, reasons, closed } = answer
  return closed && statuses.join() === String(status) && reasons.join() === reason
    ? undefined
    : `expected ${status} ${reason} and the end, got ${statuses.join() || 'nothing'} ${reasons.join()}${closed ? '' : ', left open'}`
}

/** A request without a body, written out. */
export const requestText = (target: string, host: string, ...headers: readonly string[]): string =>
  [`GET ${target} HTTP/1.1`, `Host: ${host}`, ...headers, '', ''].join('\r\n')
