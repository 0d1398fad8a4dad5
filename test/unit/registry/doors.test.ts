/** What a door keeps of its last answers, against commits at every moment of a look: between two, in the middle of one, by its own handle. */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openRegistry } from '#registry/sqlite.ts'
import { createLook } from '#registry/sqlite/doors.ts'
import { openReadHandle, type Handle } from '#registry/sqlite/handle.ts'
import { givenDevice, NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let writer: Handle
let reader: Handle
let lamp: string
let door: string

beforeEach(async () => {
  folder = temporaryFolder()
  const path = join(folder.path, 'registry.sqlite')
  {
    await using registry = await openRegistry({ path, clock: () => NOW })
    lamp = (await givenDevice(registry)).fingerprint
    door = (await givenDevice(registry)).fingerprint
  }
  writer = new Database(path)
  reader = openReadHandle(path)
})
afterEach(() => {
  writer.close()
  reader.close()
  folder[Symbol.dispose]()
})

const become = (state: 'active' | 'suspended'): void => {
  writer.prepare('update devices set state = ?').run(state)
}

/** The same handle; `before(sql)` is called before each statement is run. */
const watched = (handle: Handle, before: (sql: string) => void): Handle =>
  new Proxy(handle, {
    get: (target, name) => {
      if (name !== 'prepare') return Reflect.get(target, name) as unknown
      return (sql: string) => {
        const statement = target.prepare(sql)
        const get = statement.get.bind(statement)
        return Object.assign(statement, {
          get: (...parameters: unknown[]) => {
            before(sql)
            return get(...parameters)
          },
        })
      }
    },
  })

describe('the handle of a gateway', () => {
  test('asks for a row once as long as nobody has committed anything', () => {
    const asked: string[] = []
    const look = createLook(watched(reader, (sql) => void asked.push(sql.trim().split(' ', 1)[0] ?? '')))
    const first = look(lamp)
    expect(look(lamp)).toBe(first)
    writer.exec("begin immediate; update devices set state = 'suspended'; rollback")
    expect(look(lamp)).toBe(first)
    expect(asked).toEqual(['pragma', 'select', 'pragma', 'pragma'])
  })

  test('another certificate has an answer of its own', () => {
    const look = createLook(reader)
    const [first, other] = [look(lamp), look(door)]
    expect(other.status?.serial).not.toBe(first.status?.serial)
    expect([look(lamp), look(door)]).toEqual([first, other])
  })

  test.each<[string, () => void]>([
    ['a commit', () => {}],
    ['and a checkpoint that empties the log', () => void writer.pragma('wal_checkpoint(truncate)')],
    ['and one that leaves it', () => void writer.pragma('wal_checkpoint(passive)')],
    ['and another one after it', () => void writer.exec("update access_version set stamp = 'x'")],
    ['and its writer has gone', () => void writer.close()],
  ])('between two looks: %s', (_, then) => {
    const look = createLook(reader)
    expect([lamp, door].map((each) => look(each).status?.deviceState)).toEqual(['active', 'active'])
    become('suspended')
    then()
    expect([lamp, door].map((each) => look(each).status?.deviceState)).toEqual(['suspended', 'suspended'])
  })

  test('in the middle of a look: the answer is of after it, and neither it nor one of before is kept', () => {
    let during = (): void => {}
    const look = createLook(
      watched(reader, (sql) => {
        if (!sql.startsWith('pragma')) during()
      }),
    )
    expect(look(door).status?.deviceState).toBe('active')
    during = () => become('suspended')
    expect(look(lamp).status?.deviceState).toBe('suspended')
    during = () => {}
    expect(look(door).status?.deviceState).toBe('suspended')
    become('active')
    expect(look(lamp).status?.deviceState).toBe('active')
  })

  test('nobody has this certificate, until somebody has', () => {
    const look = createLook(reader)
    const fingerprint = '0'.repeat(64)
    expect(look(fingerprint).status).toBeUndefined()
    writer.prepare('update certificates set fingerprint = ? where fingerprint = ?').run(fingerprint, lamp)
    expect(look(fingerprint).status?.deviceState).toBe('active')
    expect(look(lamp).status).toBeUndefined()
  })
})

test('a handle that writes sees its own commits at once', () => {
  const look = createLook(writer)
  expect(look(lamp).status?.deviceState).toBe('active')
  become('suspended')
  expect(look(lamp).status?.deviceState).toBe('suspended')
})
