/**
 * Opens the two kinds of handle on the registry: the one that writes (the enroll desk's) and the one that cannot (the gateway's).
 * Not the handles of the inbox: those are another trust, set up in ../inbox.
 */

import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'

export type Handle = Database.Database

/** The group reads, for a gateway under its own uid; SQLite gives -wal and -shm the mode of the file. See db/README.md. */
const FILE_MODE = 0o640
const DIRECTORY_MODE = 0o700

/** Pages kept in memory, KiB. */
const CACHE = 65_536
/**
 * The same, of the handle that writes. A commit that has split a page looks through every page that is kept (SQLite marks the split with a page
 * number beyond the end of the file), which at 64 MB costs more than reading anew what 16 MB do not hold: 10 µs an enrolment, with
 * 200,000 devices too.
 */
const WRITE_CACHE = 16_384

/**
 * Makes `path` and its directory with our modes when they are missing (a stricter umask stays stricter). A file that is there is not
 * even opened: closing it would drop the locks that SQLite holds on it in this process (POSIX advisory locks).
 */
export const makeFile = (path: string, mode = FILE_MODE): void => {
  mkdirSync(dirname(path), { recursive: true, mode: DIRECTORY_MODE })
  if (existsSync(path)) return
  closeSync(openSync(path, 'a', mode))
  // the name too must outlive a power cut: SQLite syncs what is in the file
  const directory = openSync(dirname(path), 'r')
  fsyncSync(directory)
  closeSync(directory)
}

/** @throws SqliteError, also SQLITE_BUSY: the caller waits (patience.ts) */
export const openWriteHandle = (path: string): Handle => {
  makeFile(path)
  const database = new Database(path, { timeout: 0 })
  try {
    database.pragma('journal_mode = wal')
    // WAL defaults to NORMAL in this build, which loses the last commits in a power cut
    database.pragma('synchronous = full')
    database.pragma('foreign_keys = on')
    database.pragma('trusted_schema = off')
    database.pragma(`cache_size = -${WRITE_CACHE}`)
    // what a savepoint or a statement would undo stays in memory instead of going to a file
    database.pragma('temp_store = memory')
    // fewer and longer checkpoints than the 1,000 pages by default; 16 MB
    database.pragma('wal_autocheckpoint = 4000')
    // the WAL file is cut back after a checkpoint instead of keeping the size of its worst moment
    database.pragma('journal_size_limit = 16777216')
  } catch (error) {
    database.close()
    throw error
  }
  return database
}

/** SQLITE_OPEN_READONLY: SQLite itself refuses every write, whatever statement is prepared on it. */
export const openReadHandle = (path: string): Handle => {
  const database = new Database(path, { readonly: true, fileMustExist: true, timeout: 0 })
  try {
    database.pragma('query_only = on')
    database.pragma('trusted_schema = off')
    database.pragma(`cache_size = -${CACHE}`)
  } catch (error) {
    database.close()
    throw error
  }
  return database
}
