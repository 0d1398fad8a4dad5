/**
 * The one place that turns an error into bytes for an HTTP client (RFC 9457). The table is #wire/problems.ts.
 * Not a logger: the caller logs the error, whose cause and unknown details never leave this process.
 */

import { FleetError } from '#fleet/errors.ts'
import { PROBLEM_TYPE, problemOf } from '#wire/problems.ts'

export type ProblemReply = {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** RFC 9110 §15.5.2: a 401 must name at least one challenge. What the desks take; a door has its own. */
const CHALLENGE = 'Bearer realm="sallyport"'

/**
 * @param error anything thrown; what is not a FleetError becomes 500 `internal` without detail
 * @param challenge of a 401
 */
export const problemReply = (error: unknown, requestId: string, challenge = CHALLENGE): ProblemReply => {
  const problem = problemOf(error, requestId)
  // ends its line, so that a terminal's prompt does not stick to it
  const body = `${JSON.stringify(problem)}\n`
  const retryAfter = error instanceof FleetError ? error.retryAfter : undefined
  return {
    status: problem.status,
    headers: {
      'content-type': PROBLEM_TYPE,
      'content-length': String(Buffer.byteLength(body)),
      'cache-control': 'no-store',
      ...(problem.status === 401 ? { 'www-authenticate': challenge } : {}),
      ...(retryAfter === undefined ? {} : { 'retry-after': String(Math.max(0, Math.ceil(retryAfter))) }),
    },
    body,
  }
}
