/** What each kind of failure is to a caller. */

import { statSync } from 'node:fs'
import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { asFleetError, isBroken, isLocked } from '#registry/sqlite/failures.ts'

const sqlite = (code: string): Error => new Database.SqliteError('/secret/path: said SQLite', code)

it.each([
  ['SQLITE_BUSY', 'locked', 'registry_unavailable'],
  ['SQLITE_BUSY_SNAPSHOT', 'locked', 'registry_unavailable'],
  ['SQLITE_BUSY_RECOVERY', 'locked', 'registry_unavailable'],
  ['SQLITE_LOCKED', 'locked', 'registry_unavailable'],
  ['SQLITE_PROTOCOL', 'locked', 'registry_unavailable'],
  ['SQLITE_FULL', 'broken', 'registry_unavailable'],
  ['SQLITE_IOERR_FSYNC', 'broken', 'registry_unavailable'],
  ['SQLITE_CANTOPEN', 'broken', 'registry_unavailable'],
  ['SQLITE_READONLY_DBMOVED', 'broken', 'registry_unavailable'],
  ['SQLITE_CORRUPT', 'broken', 'registry_unavailable'],
  ['SQLITE_NOTADB', 'broken', 'registry_unavailable'],
  ['SQLITE_CONSTRAINT_UNIQUE', 'neither', 'internal'],
  ['SQLITE_ERROR', 'neither', 'internal'],
  ['SQLITE_TOOBIG', 'neither', 'internal'],
])('%s is %s, and %s outside', (code, kind, outside) => {
  const error = sqlite(code)
  expect([isLocked(error), isBroken(error)]).toEqual([kind === 'locked', kind === 'broken'])
  const shown = asFleetError(error) as FleetError
  expect(shown).toMatchObject({ code: outside, cause: error })
  // where it stands and what SQLite said is for the log
  expect(shown.detail).not.toContain('secret')
})

it('an error of the system is registry_unavailable; a refusal and a mistake pass as they are', () => {
  const ofSystem = (): unknown => {
    try {
      return statSync('/nowhere/at/all')
    } catch (error) {
      return error
    }
  }
  expect(asFleetError(ofSystem())).toMatchObject({ code: 'registry_unavailable' })
  const refusal = new FleetError('conflict', 'no')
  const mistake = new TypeError('x is not a function')
  expect(asFleetError(refusal)).toBe(refusal)
  expect(asFleetError(mistake)).toBe(mistake)
})
