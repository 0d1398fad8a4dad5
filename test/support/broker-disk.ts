/**
 * The embedded broker's disk, made of maps: what was committed is there after a crash, and nothing else. It can be made to wait, and to fail. The
 * real one is held to the same in test/unit/registry/broker-store.test.ts.
 */

import type { Batch, BatchVerb, BrokerStore, StoredBroker } from '#registry/broker-store.ts'

type Cell = number | string | null | Buffer

/** verb → table, columns of a row, how many of them are its key, the one with the payload */
const PUTS = {
  putSession: ['sessions', 4, 1],
  putSubscription: ['subscriptions', 3, 2],
  putMessage: ['messages', 3, 1, 2],
  putQueued: ['queued', 6, 2],
  putRetained: ['retained', 4, 1, 1],
  putIncoming: ['incoming', 2, 2],
} as const
const DROPS = {
  dropSubscription: ['subscriptions', 2],
  dropQueued: ['queued', 2],
  dropMessage: ['messages', 1],
  dropRetained: ['retained', 1],
  dropIncoming: ['incoming', 2],
} as const

const NAMES: Readonly<Record<keyof StoredBroker, readonly string[]>> = {
  sessions: ['number', 'clientId', 'awaySince', 'sentUpTo'],
  subscriptions: ['session', 'filter', 'qos'],
  messages: ['number', 'topic', 'payload'],
  queued: ['session', 'number', 'qos', 'packetId', 'released', 'retain'],
  retained: ['topic', 'payload', 'qos', 'owner'],
  incoming: ['session', 'packetId'],
}

export type Disk = {
  /** as a process opens it */
  open(): BrokerStore
  /** every commit fails from now on */
  broken: boolean
  /** commits wait until {@link Disk.proceed} */
  held: boolean
  /** @returns whether one waited */
  proceed(): boolean
  /** rows of each table */
  readonly rows: Readonly<Record<keyof StoredBroker, number>>
  readonly commits: number
}

export const createDisk = (): Disk => {
  const tables = Object.fromEntries(
    Object.keys(NAMES).map((name) => [name, new Map<string, readonly Cell[]>()]),
  ) as Record<keyof StoredBroker, Map<string, readonly Cell[]>>
  let waiting: (() => void)[] = []
  let commits = 0

  const rowsOf = (batch: Batch, verb: BatchVerb, columns: number): Cell[][] => {
    const cells = batch.rows[verb] ?? []
    return Array.from({ length: cells.length / columns }, (_, at) =>
      cells.slice(at * columns, (at + 1) * columns),
    )
  }

  const apply = (batch: Batch): void => {
    let from = 0
    for (const [number] of rowsOf(batch, 'endSession', 1)) {
      tables.sessions.delete(String(number))
      for (const table of [tables.subscriptions, tables.queued, tables.incoming])
        for (const [key, [session]] of table) if (session === number) table.delete(key)
    }
    for (const [verb, [table, keys]] of Object.entries(DROPS))
      for (const row of rowsOf(batch, verb as BatchVerb, keys)) tables[table].delete(row.join(' '))
    for (const [verb, [table, columns, keys, payload]] of Object.entries(PUTS))
      for (const row of rowsOf(batch, verb as BatchVerb, columns)) {
        const key = row.slice(0, keys).join(' ')
        if (payload !== undefined) {
          const until = from + (row[payload] as number)
          row[payload] = Buffer.from(batch.payloads.subarray(from, until))
          from = until
        }
        tables[table].set(key, row)
      }
    if (from !== batch.payloads.length) throw new Error('payloads that belong to nothing')
  }

  const read = (): StoredBroker => {
    const named = Object.entries(NAMES).map(([table, names]) => [
      table,
      Array.from(tables[table as keyof StoredBroker].values(), (row) =>
        Object.fromEntries(names.map((name, at) => [name, row[at]])),
      ),
    ])
    const stored = Object.fromEntries(named) as unknown as { queued: { session: number; number: number }[] }
    stored.queued.sort((a, b) => a.session - b.session || a.number - b.number)
    return stored as unknown as StoredBroker
  }

  const disk: Disk = {
    broken: false,
    held: false,
    proceed: () => {
      const acts = waiting
      waiting = []
      for (const act of acts) act()
      return acts.length > 0
    },
    get rows() {
      return Object.fromEntries(
        Object.entries(tables).map(([name, { size }]) => [name, size]),
      ) as Disk['rows']
    },
    get commits() {
      return commits
    },
    open: () => {
      let ended = false
      return {
        load: (take) => take(read()),
        commit: async (batch) => {
          // as the thread has it: a copy
          const copy = structuredClone(batch)
          if (disk.held) await new Promise<void>((resolve) => void waiting.push(resolve))
          if (disk.broken || ended) throw new Error('no space left')
          apply(copy)
          commits++
        },
        async [Symbol.asyncDispose]() {
          ended = true
        },
      }
    },
  }
  return disk
}
