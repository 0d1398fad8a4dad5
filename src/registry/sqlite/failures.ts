/**
 * What SQLite's errors mean to a caller: locked (wait a little), unavailable (503, nothing changed), or a mistake of ours.
 * Not the waiting: that is patience.ts.
 */

import Database from 'better-sqlite3'
import { FleetError } from '#fleet/errors.ts'

/** Primary result codes; better-sqlite3 reports the extended ones, `SQLITE_BUSY_SNAPSHOT`. */
const LOCKED = /^SQLITE_(?:BUSY|LOCKED|PROTOCOL)(?:_|$)/
const BROKEN = /^SQLITE_(?:FULL|IOERR|CANTOPEN|READONLY|CORRUPT|NOTADB|NOMEM|PERM|AUTH|SCHEMA)(?:_|$)/

const codeOf = (error: unknown): string => (error instanceof Database.SqliteError ? error.code : '')

/** Somebody else holds the lock; nothing has been done. */
export const isLocked = (error: unknown): boolean => LOCKED.test(codeOf(error))

/** The disk or the file: the whole transaction is void, not just this statement. */
export const isBroken = (error: unknown): boolean => BROKEN.test(codeOf(error))

const RETRY_AFTER = 1

/** The file's path and SQLite's words go to the log by `cause`, never to a client. */
export const unavailable = (detail: string, cause?: unknown): FleetError =>
  new FleetError('registry_unavailable', detail, { cause, retryAfter: RETRY_AFTER })

/** Of open(2), mkdir(2), …: the directory is gone, the disk is full, we may not. */
const isOfTheSystem = (error: unknown): boolean => error instanceof Error && 'syscall' in error

/** Errors that are not SQLite's or the system's pass as they are: a refusal is already a FleetError, and a bug should look like one. */
export const asFleetError = (error: unknown): unknown => {
  if (isLocked(error)) return unavailable('the database is locked', error)
  if (isBroken(error) || isOfTheSystem(error)) return unavailable('the database cannot be used', error)
  if (error instanceof Database.SqliteError)
    return new FleetError('internal', 'the database refused a statement', { cause: error })
  return error
}
