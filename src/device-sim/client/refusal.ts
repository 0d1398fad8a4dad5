/** What a server said no with, as the one error class: its own reason when it is one of the closed set. Not what becomes of it. */

import { ERROR_CODES, FleetError, type ErrorCode } from '#fleet/errors.ts'
import { said } from '../said.ts'
import type { Answer } from './https-once.ts'

export type Fields = Readonly<Record<string, unknown>>

export const isErrorCode = (text: unknown): text is ErrorCode =>
  (ERROR_CODES as readonly unknown[]).includes(text)

/**
 * A proxy that shows who asked what they said shows the credential too: it goes into no error. A text in JSON may spell it in other ways, so
 * what was read is blanked as well.
 */
export const without = (secrets: readonly string[], text: string): string =>
  secrets.filter(Boolean).reduce((rest, secret) => rest.replaceAll(secret, '[redacted]'), text)

/** {} when it is no JSON object. @param secrets that stand in no value of it */
export const objectIn = (body: Uint8Array, secrets: readonly string[] = []): Fields => {
  const blank = (_key: string, value: unknown): unknown =>
    typeof value === 'string' ? without(secrets, value) : value
  try {
    const text = without(secrets, Buffer.from(body).toString())
    const value: unknown = secrets.length === 0 ? JSON.parse(text) : JSON.parse(text, blank)
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
  return new FleetError(isErrorCode(o.reason) ? o.reason : 'internal', said(text ?? o.otherwise), {
    cause: problem,
    ...(retryAfter === undefined ? {} : { retryAfter }),
  })
}

/** Of an answer over HTTPS: with the server's own reason. @param secrets what was sent to prove who asks */
export const refusalOf = (
  { status, headers, body, reason }: Answer,
  secrets: readonly string[] = [],
): FleetError =>
  refusalIn(objectIn(body, secrets), {
    reason,
    retryAfter: headers['retry-after'],
    otherwise: `the server answered ${status}`,
  })

/** What an error that came of trying something is counted under: its code; of any other, what it says. */
export const wordOf = (error: unknown): string =>
  error instanceof FleetError ? error.code : said(String(error))
