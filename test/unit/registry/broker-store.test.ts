/** The embedded broker's file: what is committed is there when it is opened again, by one gateway, or it says why not. */

import { rmSync, statSync, writeFileSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openBrokerStore, type Batch, type BrokerStore } from '#registry/broker-store.ts'
import { holdLock } from '../../support/lock-holder.ts'
import { mountSmallDisk } from '../../support/small-disk.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'db', 'broker.sqlite')
})
afterEach(() => folder[Symbol.dispose]())

const open = (at = path): Promise<BrokerStore> => openBrokerStore({ path: at, clock: () => 0, patience: 0 })

const batch = (rows: Batch['rows'], ...payloads: readonly string[]): Batch => ({
  rows,
  payloads: new Uint8Array(Buffer.from(payloads.join(''))),
})
const FULL = batch(
  {
    putSession: [1, 'lamp-1', null, 0, 2, 'lamp-2', 55, 7],
    putSubscription: [1, 'a/#', 1, 2, 'b', 0],
    putMessage: [7, 'a/b', 3, 8, 'a/c', 0],
    putQueued: [1, 8, 2, 2, 1, 0, 1, 7, 1, 1, 0, 1, 2, 7, 1, 9, 0, 0],
    putRetained: ['r', 2, 1, 'lamp-1'],
    putIncoming: [1, 3, 2, 4],
  },
  'one',
  '',
  'rr',
)

/** everything in it, as rows of values */
const contents = async (at = path): Promise<Record<string, unknown[][]>> => {
  await using store = await open(at)
  const all: Record<string, unknown[][]> = {}
  store.load((stored) => {
    for (const [name, rows] of Object.entries(stored))
      all[name] = Array.from(rows as Iterable<Record<string, unknown>>, (row) =>
        Object.values(row).map((cell) => (Buffer.isBuffer(cell) ? cell.toString() : cell)),
      )
  })
  return all
}
const write = async (...batches: readonly Batch[]): Promise<void> => {
  await using store = await open()
  for (const one of batches) await store.commit(one)
}

test('what is written is read again, the queues in order', async () => {
  await write(FULL)
  expect(await contents()).toEqual({
    sessions: [
      [1, 'lamp-1', null, 0],
      [2, 'lamp-2', 55, 7],
    ],
    subscriptions: [
      [1, 'a/#', 1],
      [2, 'b', 0],
    ],
    messages: [
      [7, 'a/b', 'one'],
      [8, 'a/c', ''],
    ],
    queued: [
      [1, 7, 1, 1, 0, 1],
      [1, 8, 2, 2, 1, 0],
      [2, 7, 1, 9, 0, 0],
    ],
    retained: [['r', 'rr', 1, 'lamp-1']],
    incoming: [
      [1, 3],
      [2, 4],
    ],
  })
})

test('what is dropped is gone, and a session with all that is its own', async () => {
  await write(
    FULL,
    batch({
      endSession: [1],
      dropSubscription: [2, 'b'],
      dropQueued: [2, 7],
      dropMessage: [7, 8],
      dropRetained: ['r'],
      dropIncoming: [2, 4],
      // the same client, anew
      putSession: [3, 'lamp-1', 1, 0],
    }),
  )
  expect(await contents()).toEqual({
    sessions: [
      [2, 'lamp-2', 55, 7],
      [3, 'lamp-1', 1, 0],
    ],
    subscriptions: [],
    messages: [],
    queued: [],
    retained: [],
    incoming: [],
  })
})

test('a batch that is written twice is written once', async () => {
  await write(FULL, FULL)
  expect((await contents())['queued']).toHaveLength(3)
})

test('nobody else may read the file', async () => {
  await write(FULL)
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test('a second gateway is refused, and says who has it', async () => {
  await using first = await open()
  await expect(open()).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringContaining(`process ${process.pid}`),
  })
  await first.commit(FULL)
})

describe('a file that is not sound is refused, and it is said what to do', () => {
  const sound = async (): Promise<void> => {
    await write(
      batch(
        { putMessage: Array.from({ length: 2_000 }, (_, at) => [at + 1, 'topic', 100]).flat() },
        'x'.repeat(200_000),
      ),
    )
  }
  const spoil: Readonly<Record<string, () => Promise<void>>> = {
    'no database': async () => {
      await write(FULL)
      writeFileSync(path, 'something else entirely '.repeat(1_000))
    },
    'pages overwritten': async () => {
      await sound()
      const bytes = readFileSync(path)
      bytes.fill(0xa5, 40_000, 120_000)
      writeFileSync(path, bytes)
    },
    'cut short': async () => {
      await sound()
      truncateSync(path, 60_000)
    },
    "another program's": async () => {
      await write()
      rmSync(path)
      new Database(path).exec('create table notes (text)').close()
    },
    'a newer version': async () => {
      await write(FULL)
      const database = new Database(path)
      database.pragma('user_version = 99')
      database.close()
    },
  }
  test.each(Object.entries(spoil))('%s', async (_, act) => {
    await act()
    const refused = async (): Promise<void> => {
      await using store = await open()
      store.load((stored) => {
        for (const rows of Object.values(stored)) for (const row of rows as Iterable<unknown>) void row
      })
    }
    await expect(refused()).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringMatching(/^mqtt\.store: .*move it away/s),
    })
  })
})

test('a lock of somebody else is an error, and over when it is let go', async () => {
  await using store = await open()
  await store.commit(FULL)
  const holder = await holdLock(path, 'begin immediate')
  await expect(store.commit(FULL)).rejects.toMatchObject({ code: 'registry_unavailable' })
  await holder.release()
  await store.commit(FULL)
})

const disk = mountSmallDisk('2m')
afterEach(() => disk?.makeRoom())
test.skipIf(disk === undefined)('a full disk is an error, and over when there is room', async () => {
  const at = join(disk?.path ?? '', 'broker.sqlite')
  await using store = await open(at)
  await store.commit(FULL)
  disk?.fill()
  const large = batch({ putMessage: [9, 't', 500_000] }, 'x'.repeat(500_000))
  await expect(store.commit(large)).rejects.toMatchObject({ code: 'registry_unavailable' })
  disk?.makeRoom()
  await store.commit(large)
  await store[Symbol.asyncDispose]()
  expect((await contents(at))['messages']).toHaveLength(3)
  disk?.[Symbol.dispose]()
})
