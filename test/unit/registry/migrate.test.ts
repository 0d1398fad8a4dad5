/** The schema's history: applied once, whole or not at all, never edited, never read by older code. */

import { mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openWriteHandle } from '#registry/sqlite/handle.ts'
import { isMigrated, migrate, readMigrations } from '#registry/sqlite/migrate.ts'
import { openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import { NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'registry.sqlite')
})
afterEach(() => folder[Symbol.dispose]())

const directoryOf = (files: Readonly<Record<string, string>>): string => {
  const directory = join(folder.path, 'migrations')
  mkdirSync(directory, { recursive: true })
  for (const [name, sql] of Object.entries(files)) writeFileSync(join(directory, name), sql)
  return directory
}
const tablesOf = (database: Database.Database): unknown[] =>
  database.prepare("select name from sqlite_schema where type = 'table' order by name").pluck().all()

describe('readMigrations', () => {
  it.each([
    ['a gap', { '001_a.sql': '', '003_b.sql': '' }],
    ['the same number twice', { '001_a.sql': '', '001_b.sql': '' }],
    ['a start that is not 1', { '002_a.sql': '' }],
    ['a name out of place', { '001-a.sql': '' }],
    ['another width', { '1_a.sql': '' }],
  ])('refuses %s', (_why, files) => {
    expect(() => readMigrations(directoryOf(files))).toThrow(
      expect.objectContaining({ code: 'config_invalid' }),
    )
  })

  it('reads files in order, leaves others alone, and sums a file the same with the line ends of Windows', () => {
    const plain = readMigrations(directoryOf({ '002_b.sql': 'two', '001_a.sql': 'one\n', 'README.md': '' }))
    expect(plain.map(({ number, name, sql }) => [number, name, sql])).toEqual([
      [1, '001_a.sql', 'one\n'],
      [2, '002_b.sql', 'two'],
    ])
    const [turned] = readMigrations(directoryOf({ '001_a.sql': 'one\r\n' }))
    expect(turned?.checksum).toBe(plain[0]?.checksum)
  })
})

describe('migrate', () => {
  it('applies what is missing and nothing twice', () => {
    using database = new Closing(path)
    const first = readMigrations(directoryOf({ '001_a.sql': 'create table a (x)' }))
    migrate(database, first)
    migrate(database, first)
    expect(isMigrated(database, first)).toBe(true)
    const both = readMigrations(directoryOf({ '002_b.sql': 'create table b (x); insert into b values (1)' }))
    expect(isMigrated(database, both)).toBe(false)
    migrate(database, both)
    expect(tablesOf(database)).toEqual(['a', 'b', 'migrations'])
    expect(database.prepare('select count(*) from b').pluck().get()).toBe(1)
  })

  it('leaves nothing of one that fails half-way, and all of those before it', () => {
    using database = new Closing(path)
    const broken = directoryOf({
      '001_a.sql': 'create table a (x)',
      '002_b.sql': 'create table b (x); create table a (y)',
    })
    expect(() => migrate(database, readMigrations(broken))).toThrow('already exists')
    expect(tablesOf(database)).toEqual(['a', 'migrations'])
    migrate(database, readMigrations(directoryOf({ '002_b.sql': 'create table b (x)' })))
    expect(tablesOf(database)).toEqual(['a', 'b', 'migrations'])
  })

  it('refuses a database that newer code has written, and says what to do', () => {
    using database = new Closing(path)
    const newer = readMigrations(
      directoryOf({ '001_a.sql': 'create table a (x)', '002_b.sql': 'create table b (x)' }),
    )
    migrate(database, newer)
    for (const act of [migrate, isMigrated])
      expect(() => act(database, newer.slice(0, 1))).toThrow(
        expect.objectContaining({
          code: 'config_invalid',
          detail: expect.stringMatching(/newer Sallyport.*002_b\.sql.*start the newer version/) as string,
        }),
      )
  })

  it('refuses a migration whose text has changed since', () => {
    using database = new Closing(path)
    migrate(database, readMigrations(directoryOf({ '001_a.sql': 'create table a (x)' })))
    const edited = readMigrations(directoryOf({ '001_a.sql': 'create table a (x, y)' }))
    expect(() => migrate(database, edited)).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        detail: expect.stringContaining('001_a.sql') as string,
      }),
    )
  })
})

describe('openRegistry', () => {
  it('is safe to call at the same time, and its file is for us and the group, in a directory for us', async () => {
    path = join(folder.path, 'db', 'registry.sqlite')
    const opened = await Promise.all([
      openRegistryReader({ path }),
      ...Array.from({ length: 4 }, () => openRegistry({ path, clock: () => NOW })),
    ])
    const modeOf = (file: string): string => (statSync(file).mode & 0o777).toString(8)
    expect(modeOf(join(folder.path, 'db'))).toBe('700')
    for (const end of ['', '-wal', '-shm']) expect(modeOf(`${path}${end}`)).toBe('640')
    for (const each of opened) await each[Symbol.asyncDispose]()
  })

  it.each([
    ['journal_mode', 'wal'],
    ['synchronous', 2],
    ['foreign_keys', 1],
    ['busy_timeout', 0],
    ['trusted_schema', 0],
  ])('writes through a handle with %s = %s', (pragma, value) => {
    const database = openWriteHandle(path)
    expect(database.pragma(pragma, { simple: true })).toBe(value)
    database.close()
  })

  it.each([
    ['a directory', () => mkdirSync(path)],
    [
      'a file that is no database',
      () => writeFileSync(path, 'this is not a database, but it is long enough to be one'.repeat(99)),
    ],
  ])('says registry_unavailable of %s', async (_what, make) => {
    make()
    await expect(openRegistry({ path, clock: () => NOW })).rejects.toMatchObject({
      code: 'registry_unavailable',
    })
    await expect(openRegistryReader({ path, patience: 0 })).rejects.toMatchObject({
      code: 'registry_unavailable',
    })
  })

  it('refuses a newer file on both desks, without waiting', async () => {
    await (await openRegistry({ path, clock: () => NOW }))[Symbol.asyncDispose]()
    using database = new Closing(path)
    database.exec("insert into migrations values (999, '999_later.sql', 'x')")
    await expect(openRegistry({ path, clock: () => NOW })).rejects.toMatchObject({ code: 'config_invalid' })
    await expect(openRegistryReader({ path })).rejects.toMatchObject({ code: 'config_invalid' })
  })
})

class Closing extends Database {
  [Symbol.dispose](): void {
    this.close()
  }
}
