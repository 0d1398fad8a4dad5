/**
 * The enroll desk's side of the inbox. The file belongs to the exposed desk, so it is read as hostile: only a regular file, only a
 * schema that is ours to the letter (a view or a virtual table would run whatever it likes), only plain reads of bounded values.
 */

import { lstatSync } from 'node:fs'
import Database from 'better-sqlite3'
import { isHolder, MAX_HOLDER } from '#fleet/session.ts'
import type { InboxEntry, InboxReader } from '../registry.ts'
import { unavailable } from '../sqlite/failures.ts'
import { patiently } from '../sqlite/patience.ts'
import { schemaOf, shortText } from './file.ts'

type Row = {
  readonly number: number
  readonly kind: string | null
  readonly subject: string | null
  readonly at: number | null
  readonly door: string | null
}
type Read = Awaited<ReturnType<InboxReader['read']>>
type Opened = {
  readonly inode: string
  readonly database: Database.Database
  readonly read: (cursor: string | undefined, limit: number) => Read
}

const MOST = 10_000
const CURSOR = /^([0-9a-f]{32})\.(\d{1,15})$/
/** The highest row number that a cursor can hold; the writer's come nowhere near. */
const HIGHEST = 999_999_999_999_999
const FILE_ID = /^[0-9a-f]{32}$/
const SHA256 = /^[0-9a-f]{64}$/

/** Which door may say what, and of what: a session is HTTPS's, and a ClientID MQTT's. */
const KINDS: Readonly<
  Record<
    InboxEntry['kind'],
    { readonly doors: readonly InboxEntry['door'][]; readonly names: (subject: string) => boolean }
  >
> = {
  seen: { doors: ['https', 'mqtt'], names: (subject) => SHA256.test(subject) },
  logout: { doors: ['https'], names: isHolder },
  clone: { doors: ['mqtt'], names: (subject) => SHA256.test(subject) },
}

const isKind = (kind: string | null): kind is InboxEntry['kind'] =>
  kind !== null && Object.hasOwn(KINDS, kind)

const toEntry = ({ kind, subject, at, door: said }: Row): InboxEntry | undefined => {
  const door = isKind(kind) ? KINDS[kind].doors.find((each) => each === said) : undefined
  if (!isKind(kind) || door === undefined) return undefined
  if (subject === null || !KINDS[kind].names(subject)) return undefined
  if (at === null || !Number.isSafeInteger(at) || at < 0) return undefined
  return { kind, subject, at, door }
}

const refuseOther = (database: Database.Database): void => {
  if (schemaOf(database) !== 'ours') throw unavailable('the inbox has another schema than it should')
}

/**
 * Of what a cursor is made. One that {@link CURSOR} would not know again would start the reader from the first row each time.
 * @throws `registry_unavailable`: no writer of ours made this
 */
const cursorFor = (id: string | null | undefined, number: number): string => {
  if (typeof id !== 'string' || !FILE_ID.test(id) || number > HIGHEST)
    throw unavailable('the inbox is spoilt: its id or a row number is not one that we write')
  return `${id}.${number}`
}

const open = (path: string, inode: string): Opened => {
  const database = new Database(path, { readonly: true, fileMustExist: true, timeout: 0 })
  try {
    database.pragma('trusted_schema = off')
    database.pragma('cell_size_check = on')
    database.pragma('query_only = on')
    refuseOther(database)
    const idOf = database
      .prepare<[], string | null>(`select ${shortText('id', 32)} from file limit 1`)
      .pluck()
    const rowsAfter = database.prepare<[number, number], Row>(
      `select number, ${shortText('kind', 16)}, ${shortText('subject', MAX_HOLDER)},
         case when typeof(at) = 'integer' then at end as at, ${shortText('door', 16)}
       from entries where number > ? order by number limit ?`,
    )
    const read = database.transaction((cursor: string | undefined, limit: number): Read => {
      // each time, in the same snapshot: the schema may have been changed since the file was opened
      refuseOther(database)
      const id = idOf.get()
      const [, file, number] = CURSOR.exec(cursor ?? '') ?? []
      const goesOn = file === id && number !== undefined
      const rows = rowsAfter.all(goesOn ? Number(number) : 0, Math.min(limit, MOST))
      const entries = rows.map(toEntry).filter((entry) => entry !== undefined)
      const last = rows.at(-1)
      return {
        entries,
        cursor: last === undefined ? cursor : cursorFor(id, last.number),
        malformed: rows.length - entries.length,
        forward: goesOn && last !== undefined,
      }
    })
    return { inode, database, read }
  } catch (error) {
    database.close()
    throw error
  }
}

/** Opens nothing yet: the gateway makes the file, perhaps never. */
export const openInboxReader = async (o: { readonly path: string }): Promise<InboxReader> => {
  let opened: Opened | undefined

  const close = (): void => {
    opened?.database.close()
    opened = undefined
  }

  /** @returns undefined when there is no file */
  const current = (): Opened | undefined => {
    // a pipe or a device in its place would hold the whole process in open(2)
    const found = lstatSync(o.path, { throwIfNoEntry: false })
    if (found === undefined) close()
    else if (!found.isFile()) throw unavailable('the inbox is not a regular file')
    else {
      const inode = `${found.dev}:${found.ino}`
      if (opened?.inode !== inode) {
        close()
        opened = open(o.path, inode)
      }
    }
    return opened
  }

  return {
    read: (cursor, limit) =>
      patiently(
        () => current()?.read(cursor, limit) ?? { entries: [], cursor, malformed: 0, forward: false },
      ),
    async [Symbol.asyncDispose]() {
      close()
    },
  }
}
