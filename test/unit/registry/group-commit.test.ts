/** Many writes in one transaction: what is shared, and what is not. */

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { createGroupCommit, type GroupCommit } from '#registry/sqlite/group-commit.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let database: Database.Database
let other: Database.Database
let commits: GroupCommit
let statements: string[]

beforeEach(() => {
  folder = temporaryFolder()
  const path = join(folder.path, 'x.sqlite')
  statements = []
  database = new Database(path, { timeout: 0, verbose: (sql) => statements.push(String(sql)) })
  database.pragma('journal_mode = wal')
  database.exec('create table t (n integer primary key, twin integer unique)')
  other = new Database(path, { readonly: true })
  commits = createGroupCommit(database)
})
afterEach(async () => {
  await commits[Symbol.asyncDispose]()
  database.close()
  other.close()
  folder[Symbol.dispose]()
})

const insert = (n: number): number => {
  database.prepare('insert into t (n) values (?)').run(n)
  return n
}
const committed = (): unknown[] => other.prepare('select n from t order by n').pluck().all()
const transactions = (): number => statements.filter((sql) => sql === 'commit').length

it('shares one transaction among the verbs of one turn, and opens none without any', async () => {
  expect(await Promise.all([1, 2, 3].map((n) => commits.write(() => insert(n))))).toEqual([1, 2, 3])
  expect(transactions()).toBe(1)
  expect(statements.filter((sql) => sql === 'begin immediate')).toHaveLength(1)
})

it('takes at most 100 verbs into one transaction, in order', async () => {
  const order: number[] = []
  await Promise.all(
    Array.from({ length: 250 }, (_, n) =>
      commits.write(() => {
        order.push(insert(n))
      }),
    ),
  )
  expect(order).toEqual(Array.from({ length: 250 }, (_, n) => n))
  expect(transactions()).toBe(3)
})

it('resolves only what another handle can already see', async () => {
  const seen: unknown[] = []
  await Promise.all(
    [1, 2].map(async (n) => {
      await commits.write(() => insert(n))
      seen.push(committed())
    }),
  )
  expect(seen).toEqual([
    [1, 2],
    [1, 2],
  ])
})

it('undoes a refused verb by itself', async () => {
  const refusal = new FleetError('conflict', 'no')
  const outcomes = await Promise.allSettled([
    commits.write(() => insert(1)),
    commits.write(() => {
      insert(2)
      throw refusal
    }),
    commits.write(() => insert(3)),
  ])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(outcomes[1]).toMatchObject({ reason: refusal })
  expect(committed()).toEqual([1, 3])
  expect(transactions()).toBe(1)
})

it('does the batch again when a verb has written before it refuses, and no batch twice for one that has not', async () => {
  const runs: string[] = []
  const batch = (refuse: () => void) =>
    Promise.allSettled([
      commits.write(() => {
        runs.push('first')
        return insert(runs.length + 10)
      }),
      commits.write(refuse),
      commits.write(() => insert(runs.length + 100)),
    ])
  const no = (): never => {
    throw new FleetError('conflict', 'no')
  }
  const statuses = ['fulfilled', 'rejected', 'fulfilled']
  expect((await batch(no)).map(({ status }) => status)).toEqual(statuses)
  expect(runs).toEqual(['first'])
  expect(statements.filter((sql) => sql.startsWith('savepoint'))).toEqual([])
  const outcomes = await batch(() => {
    insert(50)
    no()
  })
  expect(outcomes.map(({ status }) => status)).toEqual(statuses)
  expect(runs).toEqual(['first', 'first', 'first'])
  expect(statements.filter((sql) => sql.startsWith('savepoint'))).toHaveLength(3)
  expect(committed()).toEqual([11, 13, 101, 103])
})

it('waits for a burst that goes on over some turns, and for no more than a few of them', async () => {
  const writes: Promise<number>[] = []
  for (let n = 1; n <= 20; n += 1) {
    writes.push(commits.write(() => insert(n)))
    await nextTurn()
  }
  await Promise.all(writes)
  expect(committed()).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
  expect(transactions()).toBeGreaterThan(1)
  expect(transactions()).toBeLessThan(8)
})

it.each<[string, () => void, object]>([
  [
    'a broken constraint',
    () => void database.prepare('insert into t values (9, 1), (8, 1)').run(),
    { code: 'internal' },
  ],
  ['a mistake in the code', () => void (undefined as unknown as { x: { y: 1 } }).x.y, { name: 'TypeError' }],
])('%s hurts only the verb that has it', async (_what, verb, expected) => {
  const [bad, good] = await Promise.allSettled([commits.write(verb), commits.write(() => insert(1))])
  expect(bad).toMatchObject({ status: 'rejected', reason: expected })
  expect(good).toMatchObject({ status: 'fulfilled' })
  expect(committed()).toEqual([1])
})

it('an error of the disk voids the whole transaction: all are refused, and the next one goes well', async () => {
  const outcomes = await Promise.allSettled([
    commits.write(() => insert(1)),
    commits.write(() => {
      insert(2)
      throw new Database.SqliteError('database or disk is full', 'SQLITE_FULL')
    }),
    commits.write(() => insert(3)),
  ])
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'registry_unavailable' } })
  expect(committed()).toEqual([])
  expect(await commits.write(() => insert(4))).toBe(4)
  expect(committed()).toEqual([4])
})

it('a verb may ask for another one', async () => {
  let second: Promise<number> | undefined
  await commits.write(() => {
    second = commits.write(() => insert(2))
  })
  await second
  expect(committed()).toEqual([2])
})

it('finishes what waits when it is closed, and takes no more', async () => {
  const last = commits.write(() => insert(1))
  await commits[Symbol.asyncDispose]()
  expect(await last).toBe(1)
  await expect(commits.write(() => insert(2))).rejects.toMatchObject({ code: 'registry_unavailable' })
})
