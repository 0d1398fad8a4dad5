/** A handle that writes the embedded broker's file. Used by the thread that writes, and before it at start. */

import Database from 'better-sqlite3'

export type Handle = Database.Database

/** Pages kept in memory, KiB: the broker has all of it in its own memory, and reads nothing but at start. */
const CACHE = 8_192

/** @param o.patience ms that the calling thread may sleep when somebody else has a lock */
export const openHandle = (path: string, o: { readonly patience: number }): Handle => {
  const database = new Database(path, { timeout: o.patience })
  try {
    database.pragma('journal_mode = wal')
    // in WAL, NORMAL would keep what was committed through a crash of the process, and not through a power cut
    database.pragma('synchronous = full')
    database.pragma('trusted_schema = off')
    database.pragma('temp_store = memory')
    database.pragma(`cache_size = -${CACHE}`)
    database.pragma('wal_autocheckpoint = 4000')
    database.pragma('journal_size_limit = 16777216')
  } catch (error) {
    database.close()
    throw error
  }
  return database
}
