/** The inbox: bounded on the way in, and on the way out read as what it is, the word of the exposed desk. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { openInboxReader, openInboxWriter } from '#registry/inbox.ts'
import type { InboxEntry } from '#registry/registry.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { countTicks, holdLock } from '../../support/lock-holder.ts'
import { freshHex, NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
let now = NOW
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'gateway', 'inbox.sqlite')
  now = NOW
})
afterEach(() => folder[Symbol.dispose]())

const seen = (over: Partial<InboxEntry> = {}): InboxEntry => ({
  kind: 'seen',
  subject: freshHex(32),
  at: NOW,
  door: 'https',
  ...over,
})

/** What a gateway writes before it stops. */
const write = async (...entries: readonly InboxEntry[]): Promise<number> => {
  await using writer = await openInboxWriter({ path, clock: () => now })
  return entries.map((entry) => writer.append(entry)).at(-1) ?? 0
}
const read = async (cursor?: string, limit = 100) => {
  await using reader = await openInboxReader({ path })
  return reader.read(cursor, limit)
}
/** A gateway that has been taken over. */
const forge = (...statements: readonly string[]): void => {
  const database = new Database(path)
  database.unsafeMode(true)
  for (const sql of statements) database.exec(sql)
  database.close()
}
const unavailable = expect.objectContaining({ code: 'registry_unavailable' }) as Error

describe('from writer to reader', () => {
  it('in order, in pages, across both being closed and opened', async () => {
    const entries = Array.from({ length: 5 }, (_, n) =>
      seen({ at: NOW + n, door: n % 2 === 0 ? 'https' : 'mqtt' }),
    )
    await write(...entries.slice(0, 3))
    await write(...entries.slice(3))
    const first = await read(undefined, 2)
    expect(first).toMatchObject({ entries: entries.slice(0, 2), malformed: 0, forward: false })
    const rest = await read(first.cursor)
    expect(rest).toMatchObject({ entries: entries.slice(2), forward: true })
    expect(await read(rest.cursor)).toEqual({
      entries: [],
      cursor: rest.cursor,
      malformed: 0,
      forward: false,
    })
  })

  it('while both are open, the file being made after the reader was', async () => {
    await using reader = await openInboxReader({ path })
    expect(await reader.read(undefined, 10)).toMatchObject({ entries: [], cursor: undefined, malformed: 0 })
    expect(await reader.read('kept', 10)).toMatchObject({ entries: [], cursor: 'kept', malformed: 0 })
    await using writer = await openInboxWriter({ path, clock: () => now })
    using clock = countTicks()
    const entry = seen()
    writer.append(entry)
    let got = await reader.read(undefined, 10)
    while (got.entries.length === 0) {
      await clock.after(4)
      got = await reader.read(undefined, 10)
    }
    expect(got.entries).toEqual([entry])
  })

  it('keeps only the newest of a certificate and door that wait together', async () => {
    const entry = seen()
    await write(entry, { ...entry, at: NOW + 1 }, { ...entry, door: 'mqtt' }, { ...entry, at: NOW + 2 })
    expect((await read()).entries).toEqual([
      { ...entry, door: 'mqtt' },
      { ...entry, at: NOW + 2 },
    ])
  })

  it('drops the oldest when the queue is full, and counts them', async () => {
    const entries = Array.from({ length: 10_003 }, (_, n) => seen({ at: NOW + n }))
    expect(await write(...entries)).toBe(3)
    const got = await read(undefined, 20_000)
    expect(got.entries[0]).toEqual(entries[3])
    expect(got.entries).toHaveLength(10_000)
  })

  it('logouts and sightings wait in queues of their own, and logouts are written first', async () => {
    const logout: InboxEntry = { kind: 'logout', subject: 'lamp-1', at: NOW, door: 'https' }
    const sightings = Array.from({ length: 10_001 }, () => seen())
    expect(await write(logout, seen(), ...sightings)).toBe(2)
    expect((await read()).entries[0]).toEqual(logout)
  })

  it('nor do sightings take the place of clones, and each of them is told once', async () => {
    const clone = seen({ kind: 'clone', door: 'mqtt' })
    const sightings = Array.from({ length: 10_001 }, () => seen())
    await write(clone, { ...clone, at: NOW + 5 }, ...sightings)
    expect((await read()).entries[0]).toEqual({ ...clone, at: NOW + 5 })
  })

  it('keeps only one logout of a name, that of the latest session', async () => {
    const logout: InboxEntry = { kind: 'logout', subject: 'partner/Pumpe 7 (Süd)', at: NOW, door: 'https' }
    await write(logout, { ...logout, at: NOW - 5 }, { ...logout, subject: 'lamp-1' })
    expect((await read()).entries).toEqual([logout, { ...logout, subject: 'lamp-1' }])
  })

  it('forgets a logout with the sightings that were written after it, however old its session was', async () => {
    const logout = () => seen({ kind: 'logout', subject: `lamp-${freshHex(4)}`, at: NOW - 30 * DAY })
    await write(logout())
    await write(seen())
    const young = logout()
    await write(young)
    now = NOW + DAY + 1
    const late = seen({ at: now })
    await write(late)
    expect((await read()).entries).toEqual([young, late])
  })

  it('forgets what is older than a day', async () => {
    await write(seen())
    now = NOW + DAY + 1
    const late = seen({ at: now })
    await write(late)
    expect((await read()).entries).toEqual([late])
  })

  it('holds on to entries while another process has the file', async () => {
    await write(seen())
    const writer = await openInboxWriter({ path, clock: () => now })
    using clock = countTicks()
    const holder = await holdLock(path, 'begin exclusive')
    const before = clock.ticks()
    const entry = seen()
    writer.append(entry)
    await expect(read()).rejects.toThrow(unavailable)
    expect(clock.ticks() - before).toBeGreaterThan(20)
    await holder.release()
    await writer[Symbol.asyncDispose]()
    expect((await read()).entries.at(-1)).toEqual(entry)
  })
})

describe('the cursor', () => {
  it.each(['nonsense', `${'0'.repeat(32)}.1`, '.', `${'f'.repeat(32)}.99999999999999999`])(
    'of another file or none ("%s") starts from the beginning',
    async (cursor) => {
      await write(seen(), seen())
      expect((await read(cursor)).entries).toHaveLength(2)
    },
  )

  it('of a file that was replaced starts over, also in a reader that has it open', async () => {
    await write(seen(), seen())
    await using reader = await openInboxReader({ path })
    const { cursor } = await reader.read(undefined, 10)
    rmSync(path)
    const entry = seen()
    await write(entry)
    expect(await reader.read(cursor, 10)).toMatchObject({ entries: [entry], forward: false })
  })
})

describe('a hostile file', () => {
  const COLUMNS = 'insert into entries (kind, subject, at, door) values'
  const good = 'a'.repeat(64)

  it('malformed rows are skipped, counted and passed', async () => {
    await write(seen())
    forge(
      `${COLUMNS} ('promoted', '${good}', 1, 'https')`,
      `${COLUMNS} ('seen', '${good}', 1, 'back')`,
      `${COLUMNS} ('seen', '${good.toUpperCase()}', 1, 'https')`,
      `${COLUMNS} ('seen', '${good}0', 1, 'https')`,
      `${COLUMNS} ('seen', '', 1, 'https')`,
      `${COLUMNS} ('seen', '${good}', -1, 'https')`,
      `${COLUMNS} ('seen', '${good}', 9223372036854775807, 'https')`,
      `${COLUMNS} ('seen', char(0) || '${good.slice(1)}', 1, 'https')`,
      `${COLUMNS} (printf('%.*c', 100000, 'x'), printf('%.*c', 5000000, 'x'), 1, 'https')`,
      `${COLUMNS} ('logout', 'lamp-1', 1, 'mqtt')`,
      `${COLUMNS} ('clone', '${good}', 1, 'https')`,
      `${COLUMNS} ('clone', 'lamp-1', 1, 'mqtt')`,
      `${COLUMNS} ('logout', 'partner/', 1, 'https')`,
      `${COLUMNS} ('logout', 'partner/' || printf('%.*c', 313, 'x'), 1, 'https')`,
      `${COLUMNS} ('logout', 'partner/a' || char(10), 1, 'https')`,
      `${COLUMNS} ('constructor', '${good}', 1, 'https')`,
      `${COLUMNS} ('seen', '${good}', 5, 'mqtt')`,
      `${COLUMNS} ('logout', 'partner/' || printf('%.*c', 312, 'x'), 6, 'https')`,
      `${COLUMNS} ('clone', '${good}', 7, 'mqtt')`,
    )
    const got = await read()
    expect(got.entries.slice(1)).toEqual([
      { kind: 'seen', subject: good, at: 5, door: 'mqtt' },
      { kind: 'logout', subject: `partner/${'x'.repeat(312)}`, at: 6, door: 'https' },
      { kind: 'clone', subject: good, at: 7, door: 'mqtt' },
    ])
    expect(got.malformed).toBe(16)
    expect((await read(got.cursor)).entries).toEqual([])
  })

  // each would make a cursor that nobody knows again, and the reader would start over for ever
  it.each<[string, string]>([
    [
      'a row number of 16 digits',
      `insert into entries (number, kind, subject, at, door) values (1000000000000000, 'seen', '${good}', 1, 'https')`,
    ],
    [
      'the highest row number there is',
      `insert into entries (number, kind, subject, at, door) values (9223372036854775807, 'x', 'x', 1, 'x')`,
    ],
    ['an id that is not one', "update file set id = 'nonsense'"],
    ['an id with a dot in it', "update file set id = '.' || substr(id, 2)"],
    ['no id', 'delete from file'],
  ])('%s is refused as spoilt', async (_what, statement) => {
    await write(seen())
    forge(statement)
    await expect(read()).rejects.toThrow(unavailable)
  })

  it('every row number that is taken can be gone on from', async () => {
    await write(seen())
    forge(
      `insert into entries (number, kind, subject, at, door) values (999999999999999, 'seen', '${good}', 1, 'https')`,
    )
    const { cursor, entries } = await read()
    expect(entries).toHaveLength(2)
    expect(await read(cursor)).toMatchObject({ entries: [], malformed: 0, cursor })
  })

  const endless = 'with recursive n(x) as (select 1 union all select x + 1 from n) select'
  it.each<[string, readonly string[]]>([
    [
      'a view in place of the table',
      [
        'drop table entries',
        `create view entries as ${endless} x as number, 'seen' as kind, '${good}' as subject, 1 as at, 'https' as door from n`,
      ],
    ],
    ['a table more', ['create table more (x)']],
    ['a trigger', ['create trigger t after insert on entries begin select 1; end']],
    ['a table less', ['drop table file']],
    [
      'other columns',
      ['drop table entries', 'create table entries (number integer primary key, kind, subject, at, door)'],
    ],
    ['a generated column', ['alter table entries add column more text as (kind) virtual']],
  ])('%s is refused, also when it comes while the file is open', async (_what, statements) => {
    await write(seen())
    await using reader = await openInboxReader({ path })
    await reader.read(undefined, 10)
    forge(...statements)
    await expect(reader.read(undefined, 10)).rejects.toThrow(unavailable)
    await expect(read()).rejects.toThrow(unavailable)
  })

  it.each<[string, () => void]>([
    ['a pipe', () => void execFileSync('mkfifo', [path])],
    ['a directory', () => mkdirSync(path)],
    ['a link', () => symlinkSync('/etc/hostname', path)],
    ['no database', () => writeFileSync(path, 'not a database at all, but long enough to be one'.repeat(99))],
  ])('%s is refused, and holds nobody up', async (_what, make) => {
    mkdirSync(join(folder.path, 'gateway'))
    make()
    await expect(read()).rejects.toThrow(unavailable)
  })
})

describe('the writer', () => {
  it('puts a spoilt file aside and goes on', async () => {
    await write(seen())
    const spoilt = readFileSync(path).fill(0x5a, 100, 4_000)
    writeFileSync(path, spoilt)
    const entry = seen()
    await write(entry)
    expect((await read()).entries).toEqual([entry])
    expect(existsSync(`${path}.spoilt`)).toBe(true)
  })

  it('does not touch a path that leads to another database, say the registry', async () => {
    const registry = await openRegistry({ path, clock: () => now })
    await registry[Symbol.asyncDispose]()
    const schema = (): unknown => {
      const database = new Database(path, { readonly: true })
      const tables = database.prepare('select * from sqlite_schema').all()
      database.close()
      return tables
    }
    const before = schema()
    await expect(openInboxWriter({ path, clock: () => now })).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining('registry.inbox') as string,
    })
    expect(schema()).toEqual(before)
  })
})
