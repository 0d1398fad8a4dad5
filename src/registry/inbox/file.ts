/**
 * The gateway's inbox as a file: two tables, in a schema that both sides compare letter by letter, because the gateway is the
 * exposed desk and what it wrote is read by the desk that signs. Not who writes or reads it.
 */

import type { Database } from 'better-sqlite3'

/**
 * A rollback journal, not WAL: reading a WAL database needs files made beside it, and neither desk may make files in the other's
 * directory when they run under two uids.
 */
export const JOURNAL_MODE = 'truncate'

/** `file` names the file, so that a cursor into another one is noticed. */
const TABLES = [
  'CREATE TABLE entries (number integer primary key autoincrement, kind text not null, subject text not null, at integer not null, door text not null) strict',
  'CREATE TABLE file (id text not null) strict',
] as const

/** Not text, or longer than it may be: not even loaded. */
export const shortText = (column: string, octets: number): string =>
  `case when typeof(${column}) = 'text' and octet_length(${column}) <= ${octets} then ${column} end as ${column}`

export const makeTables = (database: Database): void => {
  for (const table of TABLES) database.exec(table)
  database.exec('insert into file (id) values (lower(hex(randomblob(16))))')
}

/**
 * Exactly our tables and nothing else. sqlite_schema is a plain table whatever the file says, so asking it runs nothing foreign.
 * @returns `empty`: a new file
 */
export const schemaOf = (database: Database): 'ours' | 'empty' | 'other' => {
  const found = database
    .prepare<[], { readonly sql: string | null }>(
      `select ${shortText('sql', 400)} from sqlite_schema where name <> 'sqlite_sequence' limit ${TABLES.length + 1}`,
    )
    .all()
    .map(({ sql }) => sql)
  if (found.length === 0) return 'empty'
  return found.length === TABLES.length && TABLES.every((table) => found.includes(table)) ? 'ours' : 'other'
}
