/**
 * Brings a database to the schema this code knows: db/migrations/NNN_name.sql, each applied once, whole or not at all.
 * A file that was applied never changes; its checksum is kept in the database.
 */

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { FleetError } from '#fleet/errors.ts'
import type { Handle } from './handle.ts'

export const MIGRATIONS = fileURLToPath(new URL('../../../db/migrations/', import.meta.url))

export type Migration = {
  readonly number: number
  readonly name: string
  readonly sql: string
  readonly checksum: string
}

const NAME = /^(\d{3})_[a-z0-9_]+\.sql$/

/** @throws FleetError `config_invalid`: a name out of place, or a gap in the numbers */
export const readMigrations = (directory: string): readonly Migration[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .toSorted()
    .map((name, index) => {
      const number = Number(NAME.exec(name)?.[1])
      if (number !== index + 1)
        throw new FleetError(
          'config_invalid',
          `${directory}: ${name}: expected ${index + 1} as three digits, then _name.sql`,
        )
      // a checkout on Windows may have turned the line ends
      const sql = readFileSync(`${directory}/${name}`, 'utf8').replaceAll('\r\n', '\n')
      return { number, name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
    })

type Applied = { readonly number: number; readonly name: string; readonly checksum: string }

const readApplied = (database: Handle): readonly Applied[] => {
  const known = database
    .prepare("select 1 from sqlite_schema where type = 'table' and name = 'migrations'")
    .get()
  if (known === undefined) return []
  return database.prepare<[], Applied>('select number, name, checksum from migrations order by number').all()
}

/** @throws FleetError `config_invalid` when the database was made by another history of migrations than ours */
const checkHistory = (
  database: Handle,
  applied: readonly Applied[],
  migrations: readonly Migration[],
): void => {
  const ours = new Map(migrations.map((migration) => [migration.number, migration]))
  for (const { number, name, checksum } of applied) {
    const migration = ours.get(number)
    if (migration === undefined)
      throw new FleetError(
        'config_invalid',
        `${database.name} was written by a newer Sallyport: it has migration ${name}, this one knows ${migrations.length}; ` +
          'start the newer version, or put the backup from before the upgrade in place',
      )
    if (migration.checksum !== checksum)
      throw new FleetError(
        'config_invalid',
        `${database.name}: migration ${name} was applied with another text than ${migration.name} has now; ` +
          'restore the file as it was, and write changes into a new one',
      )
  }
}

/** For a reader. @returns whether every migration of ours has been applied */
export const isMigrated = (database: Handle, migrations: readonly Migration[]): boolean => {
  const applied = readApplied(database)
  checkHistory(database, applied, migrations)
  return applied.length === migrations.length
}

/**
 * One transaction each, begun IMMEDIATE and checked again inside: of two processes that start at once, the second finds it done.
 * @throws SqliteError SQLITE_BUSY when another process writes: the caller waits and calls again, what is done stays done
 */
export const migrate = (database: Handle, migrations: readonly Migration[]): void => {
  while (!isMigrated(database, migrations)) {
    database
      .transaction(() => {
        const next = migrations[readApplied(database).length]
        if (next === undefined) return
        database.exec(
          'create table if not exists migrations (number integer primary key, name text not null, checksum text not null) strict',
        )
        database.exec(next.sql)
        database
          .prepare('insert into migrations (number, name, checksum) values (?, ?, ?)')
          .run(next.number, next.name, next.checksum)
      })
      .immediate()
  }
}
