/** A registry of its own for one test: a file in a temporary folder, with a clock that the test moves. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Clock } from '#fleet/clock.ts'
import { openWriteHandle } from '#registry/sqlite/handle.ts'
import { migrate, MIGRATIONS, readMigrations } from '#registry/sqlite/migrate.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { temporaryFolder } from './temporary.ts'

export type TestRegistry = AsyncDisposable & {
  readonly registry: Registry
  readonly path: string
  readonly clock: Clock
  /** ms; may be negative */
  pass(ms: number): void
}

let migrated: Buffer | undefined

/** Migrating takes a third of opening a new file, and comes out the same each time: done once a process. */
const migratedFile = (): Buffer => {
  if (migrated !== undefined) return migrated
  using folder = temporaryFolder()
  const database = openWriteHandle(join(folder.path, 'registry.sqlite'))
  migrate(database, readMigrations(MIGRATIONS))
  migrated = database.serialize()
  database.close()
  return migrated
}

/** Puts a registry at `path` that has been migrated and holds nothing. Not for a test of how one is made. */
export const placeRegistry = (path: string): void => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFileSync(path, migratedFile(), { mode: 0o640 })
}

export const openTestRegistry = async (now = Date.UTC(2026, 10, 24, 12)): Promise<TestRegistry> => {
  let at = now
  const clock = () => at
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(temporaryFolder())
  const path = join(folder.path, 'registry.sqlite')
  placeRegistry(path)
  const registry = opened.use(await openRegistry({ path, clock }))
  const owned = opened.move()
  return {
    registry,
    path,
    clock,
    pass: (ms) => {
      at += ms
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
