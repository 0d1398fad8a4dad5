/**
 * The thread that writes the embedded broker's file: one batch, one transaction, one fsync, one answer. A thread of its own because
 * an fsync and a checkpoint take as long as the disk wants, and every client would wait for it. Not what a batch holds.
 */

import { parentPort, workerData } from 'node:worker_threads'
import type Database from 'better-sqlite3'
import { openHandle, type Handle } from './handle.ts'
import { BATCH_VERBS, type Batch, type BatchVerb } from './store.ts'
import { STATEMENTS } from './tables.ts'

/** ms to wait for somebody else's lock; the broker asks again. */
const PATIENCE = 500

export type ThreadData = { readonly path: string }
export type Question = { readonly number: number; readonly batch: Batch } | 'close'
/** `number`: of the batch. `error`: SQLite's words; undefined: it is written. */
export type Answer = { readonly number: number; readonly error: string | undefined }

type Write = (rows: readonly (number | string | null)[], payloads: Uint8Array, from: number) => number

/** @returns writes all rows of one verb, and says where the next payload begins */
const writer = (database: Handle, verb: BatchVerb): Write => {
  const { sql, columns, payload } = STATEMENTS[verb]
  const statements: readonly Database.Statement[] = sql.map((text) => database.prepare(text))
  return (rows, payloads, from) => {
    let at = from
    const row: (number | string | null | Uint8Array)[] = []
    for (let first = 0; first < rows.length; first += columns) {
      for (let column = 0; column < columns; column++) row[column] = rows[first + column] as number | string
      if (payload !== undefined) {
        const length = row[payload] as number
        row[payload] = payloads.subarray(at, at + length)
        at += length
      }
      for (const statement of statements) statement.run(row)
    }
    return at
  }
}

const open = (path: string) => {
  const database = openHandle(path, { patience: PATIENCE })
  const writers = BATCH_VERBS.map((verb) => [verb, writer(database, verb)] as const)
  const apply = database.transaction(({ rows, payloads }: Batch) => {
    let at = 0
    for (const [verb, write] of writers) at = write(rows[verb] ?? [], payloads, at)
  })
  return { commit: apply.immediate, close: () => database.close() }
}

const { path } = workerData as ThreadData
let file: ReturnType<typeof open> | undefined

/** @returns why not; undefined: it is written */
const commit = (batch: Batch): string | undefined => {
  try {
    file ??= open(path)
    file.commit(batch)
    return undefined
  } catch (error) {
    return String(error)
  }
}

parentPort?.on('message', (question: Question) => {
  if (question !== 'close') {
    const { number, batch } = question
    return parentPort?.postMessage({ number, error: commit(batch) } satisfies Answer)
  }
  file?.close()
  parentPort?.close()
})
