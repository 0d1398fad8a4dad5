/**
 * The gateway's side of the inbox: a bounded queue in memory, written in batches off the hot path, forgotten after a day.
 * What is said here is a hint: nothing in it is needed for a verdict, so a full disk or a lock costs entries, never a request.
 */

import { renameSync, rmSync } from 'node:fs'
import Database from 'better-sqlite3'
import { type Clock, DAY } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { InboxEntry, InboxWriter } from '../registry.ts'
import { makeFile } from '../sqlite/handle.ts'
import { patiently } from '../sqlite/patience.ts'
import { JOURNAL_MODE, makeTables, schemaOf } from './file.ts'

/** Entries in memory, of each kind. */
const MOST_QUEUED = 10_000
/** Entries in the file. */
const MOST_KEPT = 100_000
const FLUSH_EVERY = 250
const BATCH = 1_000

const openFile = (path: string): Database.Database => {
  makeFile(path)
  const database = new Database(path, { timeout: 0 })
  try {
    // before anything is written: a path that leads to another database, say the registry, must not be touched
    if (schemaOf(database) === 'other')
      throw new FleetError('config_invalid', `registry.inbox: ${path} is a database, but not an inbox`)
    database.pragma(`journal_mode = ${JOURNAL_MODE}`)
    database.pragma('synchronous = normal')
    database
      .transaction(() => {
        if (schemaOf(database) === 'empty') makeTables(database)
      })
      .immediate()
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

const isSpoilt = (error: unknown): boolean =>
  error instanceof Database.SqliteError && /^SQLITE_(?:CORRUPT|NOTADB)(?:_|$)/.test(error.code)

/** A file that power or a disk has spoilt is put aside: nothing in it is needed. */
const openOrReplace = (path: string): Database.Database => {
  try {
    return openFile(path)
  } catch (error) {
    if (!isSpoilt(error)) throw error
    renameSync(path, `${path}.spoilt`)
    rmSync(`${path}-journal`, { force: true })
    return openFile(path)
  }
}

/** @throws FleetError: `registry_unavailable` when the file cannot be made or opened; `config_invalid` when it is something else */
export const openInboxWriter = async (o: {
  readonly path: string
  readonly clock: Clock
}): Promise<InboxWriter> => {
  const database = await patiently(() => openOrReplace(o.path))
  const add = database.prepare('insert into entries (kind, subject, at, door) values (?, ?, ?, ?)')
  // Entries stand nearly in order of time, so the old ones are among the first; looking at all of them would cost more than writing. A
  // logout does not say when it was written (`at` is when its session began): what stands before a sighting of yesterday is as old.
  const forgetOld = database.prepare(`
    delete from entries where number <=
      (select max(number) from (select number, kind, at from entries order by number limit ${BATCH}) where kind = 'seen' and at < ?)`)
  const forgetMost = database.prepare(
    'delete from entries where number <= (select max(number) from entries) - ?',
  )

  /**
   * By certificate (or name) and door: only what is of the latest time counts, so a busy device takes one place. Oldest first. Each kind has places
   * of its own, and those of few words go first: no crowd of sightings takes them from them.
   */
  const queues: Readonly<Record<InboxEntry['kind'], Map<string, InboxEntry>>> = {
    logout: new Map(),
    clone: new Map(),
    seen: new Map(),
  }
  const inTurn = Object.values(queues)
  let dropped = 0
  let timer: NodeJS.Timeout | undefined

  const writeAll = database.transaction((entries: readonly InboxEntry[]) => {
    for (const { kind, subject, at, door } of entries) add.run(kind, subject, at, door)
    forgetOld.run(o.clock() - DAY)
    forgetMost.run(MOST_KEPT)
  })

  const waiting = (): number => inTurn.reduce((sum, { size }) => sum + size, 0)

  /** @throws SqliteError: the batch is still in the queue */
  const writeBatch = (): void => {
    const batch = inTurn.flatMap((queue) => [...queue]).slice(0, BATCH)
    writeAll.immediate(batch.map(([, entry]) => entry))
    for (const [key, { kind }] of batch) queues[kind].delete(key)
  }

  const tick = (): void => {
    timer = undefined
    let wait = 0
    try {
      writeBatch()
    } catch {
      // locked by the reader, or the disk is full: the queue is bounded, and a later turn tries again
      wait = FLUSH_EVERY
    }
    if (waiting() > 0) later(wait)
  }
  const later = (wait: number): void => {
    timer ??= setTimeout(tick, wait).unref()
  }

  return {
    append: (entry) => {
      const queue = queues[entry.kind]
      const key = `${entry.door} ${entry.subject}`
      const before = queue.get(key)
      queue.delete(key)
      queue.set(key, before !== undefined && before.at > entry.at ? before : entry)
      if (queue.size > MOST_QUEUED) {
        const [oldest] = queue.keys()
        queue.delete(oldest as string)
        dropped += 1
      }
      later(FLUSH_EVERY)
      return dropped
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
      try {
        while (waiting() > 0) await patiently(writeBatch)
      } catch {
        // what cannot be written by now is lost, as the first two lines say
      }
      database.close()
    },
  }
}
