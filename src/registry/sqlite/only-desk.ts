/**
 * One enroll desk to a registry. What that desk keeps in its own memory (changes of access one after the other, requests under way)
 * holds for one process only, so a second one must not start. Not the locks of transactions: tools that write beside a running desk
 * do not come here.
 *
 * The lock is SQLite's RESERVED lock on a file of its own beside the registry: an advisory lock of the operating system, so it ends
 * with the process however that dies, and holds between containers that share the volume. Others may read meanwhile: who has it.
 */

import { realpathSync } from 'node:fs'
import { hostname } from 'node:os'
import Database from 'better-sqlite3'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { isBroken, isLocked } from './failures.ts'
import { makeFile } from './handle.ts'
import { patiently } from './patience.ts'

/** One that is being stopped may still be there, ms. */
const PATIENCE = 2_000

/** The gateway's user reads the registry; a lock that it could open is one that it could hold. */
const LOCK_MODE = 0o600

/** By the file and not by the name it was configured under: two names of one registry have one lock. */
const openLock = (registry: string): Database.Database => {
  makeFile(registry)
  const path = `${realpathSync(registry)}.lock`
  makeFile(path, LOCK_MODE)
  return new Database(path, { timeout: 0 })
}

/** @returns false when there is no room to write it: the lock holds without a name. @throws SqliteError when another has the lock */
const writeName = (database: Database.Database, me: string): boolean => {
  try {
    database
      .transaction(() => {
        database.exec(
          'create table if not exists holder (one integer primary key check (one = 1), who text not null) strict',
        )
        database
          .prepare(
            'insert into holder (one, who) values (1, ?) on conflict (one) do update set who = excluded.who',
          )
          .run(me)
      })
      .immediate()
    return true
  } catch (error) {
    if (!isBroken(error)) throw error
    return false
  }
}

const readName = (database: Database.Database): string | undefined =>
  database.prepare<[], string>('select who from holder').pluck().get()

/** @returns whether we have it: not when another wrote its name in between. @throws SqliteError when another has it */
const take = (database: Database.Database, me: string): boolean => {
  const named = writeName(database, me)
  // kept for as long as the process lives; nothing is written in it, so nothing is rolled back when that dies
  database.exec('begin immediate')
  if (!named || readName(database) === me) return true
  database.exec('rollback')
  return false
}

const takenBy = (database: Database.Database): string => {
  try {
    return readName(database) ?? 'another process'
  } catch {
    return 'another process'
  }
}

/**
 * @param o.path of the registry, or of another file that has one writer; made when it does not exist
 * @param o.taken what to say when another has it; default: of the registry
 * @param o.patience ms to wait for the one that has it; for tests
 * @throws FleetError `config_invalid` when another desk has it, and says which; `registry_unavailable` when the file cannot be used
 */
export const becomeOnlyDesk = async (o: {
  readonly path: string
  readonly clock: Clock
  readonly patience?: number
  readonly taken?: (holder: string) => string
}): Promise<Disposable> => {
  const me = `process ${process.pid} on ${hostname()}, since ${new Date(o.clock()).toISOString()}`
  const database = await patiently(() => openLock(o.path))
  try {
    let ours = false
    while (!ours) ours = await patiently(() => take(database, me), o.patience ?? PATIENCE)
  } catch (error) {
    const locked = error instanceof FleetError && isLocked(error.cause)
    const holder = locked ? takenBy(database) : ''
    database.close()
    if (!locked) throw error
    const detail =
      o.taken?.(holder) ??
      `registry.path: got ${o.path}, expected a registry that no other enroll desk has open; ${holder} has it`
    throw new FleetError('config_invalid', detail, { cause: error })
  }
  return {
    [Symbol.dispose]() {
      database.close()
    },
  }
}
