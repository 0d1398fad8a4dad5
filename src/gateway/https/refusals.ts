/**
 * The two ways in which the door itself says no to a request, with a reason, instead of an origin's answer. Not the bytes: reply.ts. Not whether
 * to: exchange.ts, admitted.ts.
 */

import type { FleetError } from '#fleet/errors.ts'
import type { Log } from '#runtime/log.ts'
import type { AnonymousLines } from '../anonymous-lines.ts'
import type { Connection, Turn } from './connection.ts'
import { replyProblem } from './reply.ts'

export type Refusals = {
  /** Admission's no, which admission has logged. The connection ends with it. @param cookies values of Set-Cookie */
  readonly denied: (error: FleetError, cookies?: readonly string[]) => undefined
  /**
   * Every other no, which is logged and counted here. The connection may go on.
   * @param isNamed is it somebody, whose lines nobody else can cause? @param cookie a session that has begun
   */
  readonly notServed: (error: FleetError, isNamed?: boolean, cookie?: string) => undefined
}

export type RefusalDeps = {
  readonly log: Log
  readonly anonymousLines: AnonymousLines
  /** counts what was not served for another reason than admission's */
  readonly failed: (reason: string) => void
}

export const createRefusals = (
  deps: RefusalDeps,
  connection: Connection,
  { request, response }: Turn,
  requestId: string,
): Refusals => {
  const tell = (error: FleetError, cookies: readonly string[]): undefined => {
    replyProblem(request, response, error, requestId, connection.fate(request), cookies)
  }
  return {
    denied: (error, cookies = []) => {
      connection.close()
      return tell(error, cookies)
    },
    notServed: (error, isNamed = false, cookie) => {
      deps.failed(error.code)
      const line = {
        door: 'https',
        reason: error.code,
        address: connection.peer.address,
        request_id: requestId,
        err: error.cause,
      }
      if (isNamed || deps.anonymousLines.take()) deps.log.info(line, 'not served')
      return tell(error, cookie === undefined ? [] : [cookie])
    },
  }
}
