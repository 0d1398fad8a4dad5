/**
 * Opens the embedded broker's file for the one process that may have it: takes its lock, brings it to our tables, looks whether it is
 * sound, and starts the thread that writes. Not the writing: that is writer.ts and thread.ts.
 */

import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { makeFile } from '../sqlite/handle.ts'
import { becomeOnlyDesk } from '../sqlite/only-desk.ts'
import { patiently } from '../sqlite/patience.ts'
import { openHandle, type Handle } from './handle.ts'
import type { BrokerStore } from './store.ts'
import { MIGRATIONS, readAll } from './tables.ts'
import { createWriter, startThread } from './writer.ts'

/** Messages of clients may be in it. */
const FILE_MODE = 0o600

const damaged = (path: string, what: string, cause?: unknown): FleetError =>
  new FleetError(
    'config_invalid',
    `mqtt.store: ${path}: ${what}; sessions, queued and retained messages cannot be read from it. ` +
      'Put a backup in its place, or move it away with its -wal and -shm to start without them',
    { cause },
  )

const migrate = (database: Handle, path: string): void => {
  const version = database.pragma('user_version', { simple: true }) as number
  if (version > MIGRATIONS.length)
    throw damaged(
      path,
      `version ${version}, written by a newer Sallyport (this one knows ${MIGRATIONS.length})`,
    )
  const foreign = database.prepare('select count(*) from sqlite_schema').pluck().get() !== 0
  if (version === 0 && foreign) throw damaged(path, 'another program made it')
  if (version === MIGRATIONS.length) return
  database
    .transaction(() => {
      for (const sql of MIGRATIONS.slice(version)) database.exec(sql)
      database.pragma(`user_version = ${MIGRATIONS.length}`)
    })
    .immediate()
}

const check = (database: Handle, path: string): void => {
  const verdict = database.pragma('quick_check(1)', { simple: true })
  if (verdict !== 'ok') throw damaged(path, `damaged: ${String(verdict)}`)
}

/** SQLite's errors about what is in the file, and not about the disk or a lock. */
const isDamage = (error: unknown): boolean =>
  error instanceof Error &&
  /^SQLITE_(?:CORRUPT|NOTADB)/.test((error as { readonly code?: string }).code ?? '')

const reading = <T>(path: string, read: () => T): T => {
  try {
    return read()
  } catch (error) {
    if (isDamage(error)) throw damaged(path, 'damaged', error)
    throw error
  }
}

const prepare = (path: string): Promise<Handle> =>
  patiently(() =>
    reading(path, () => {
      const database = openHandle(path, { patience: 0 })
      try {
        migrate(database, path)
        check(database, path)
        return database
      } catch (error) {
        database.close()
        throw error
      }
    }),
  )

/**
 * @param o.patience ms to wait for a gateway that is being stopped; for tests
 * @param o.path made, with its directory, when it does not exist
 * @throws FleetError `config_invalid`: another gateway has it, it is damaged, or newer than this code; `registry_unavailable`: the disk, or a lock
 */
export const openBrokerStore = async (o: {
  readonly path: string
  readonly clock: Clock
  readonly patience?: number
}): Promise<BrokerStore> => {
  makeFile(o.path, FILE_MODE)
  const lock = await becomeOnlyDesk({
    path: o.path,
    clock: o.clock,
    ...(o.patience === undefined ? {} : { patience: o.patience }),
    taken: (holder) =>
      `mqtt.store: got ${o.path}, expected a file that no other gateway has open; ${holder} has it. ` +
      'Several gateways need brokers behind them (mqtt.upstream)',
  })
  let database: Handle | undefined
  try {
    database = await prepare(o.path)
  } catch (error) {
    lock[Symbol.dispose]()
    throw error
  }
  const writer = createWriter(() => startThread(o.path))
  const closeReader = (): void => {
    database?.close()
    database = undefined
  }
  return {
    load: (take) => {
      const from = database
      if (from === undefined) throw new Error('what is in the store is read once, before anything is written')
      try {
        reading(o.path, () => take(readAll(from)))
      } finally {
        closeReader()
      }
    },
    commit: (batch) => {
      closeReader()
      return writer.commit(batch)
    },
    async [Symbol.asyncDispose]() {
      closeReader()
      await writer.end()
      lock[Symbol.dispose]()
    },
  }
}
