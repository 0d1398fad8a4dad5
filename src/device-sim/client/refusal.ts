/** What a server said no with, as the one error class: its own reason when it is one of the closed set. Not what becomes of it. */

import { ERROR_CODES, FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Answer } from './https-once.ts'

export type Fields = Readonly<Record<string, unknown>>

export const isErrorCode = (text: unknown): text is ErrorCode =>
  (ERROR_CODES as readonly unknown[]).includes(text)

/** {} when it is no JSON object */
export const objectIn = (body: Uint8Array): Fields => {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString())
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

/** seconds, of `Retry-After`; undefined: none, or a date, which no server of this contract sends */
export const secondsIn = (retryAfter: unknown): number | undefined => {
  const seconds = typeof retryAfter === 'string' ? Number(retryAfter) : retryAfter
  return typeof seconds === 'number' && Number.isInteger(seconds) && seconds >= 0 ? seconds : undefined
}

/**
 * Of a problem document (RFC 9457); `cause` is the document, for whoever prints it whole. @param o.reason of it, when it was read before
 * @param o.retryAfter of the header; over MQTT it stands in the document
 */
export const refusalIn = (
  problem: Fields,
  o: { readonly reason: unknown; readonly retryAfter: unknown; readonly otherwise: string },
): FleetError => {
  const text = [problem['detail'], problem['title']].find((item) => typeof item === 'string')
  const retryAfter = secondsIn(o.retryAfter)
  return new FleetError(isErrorCode(o.reason) ? o.reason : 'internal', text ?? o.otherwise, {
    cause: problem,
    ...(retryAfter === undefined ? {} : { retryAfter }),
  })
}

/** Of an answer over HTTPS: with the server's own reason. */
export const refusalOf = ({ status, headers, body, reason }: Answer): FleetError =>
  refusalIn(objectIn(body), {
    reason,
    retryAfter: headers['retry-after'],
    otherwise: `the server answered ${status}`,
  })

/** The word of an error that came of trying something: what a drill or a tally counts under. */
export const wordOf = (error: unknown): string => (error instanceof FleetError ? error.code : String(error))
