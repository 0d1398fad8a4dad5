/**
 * Many writes, one fsync: verbs that arrive in the same turn of the event loop share a transaction, and a refusal undoes only itself. A
 * verb that refuses before it has written, as they should, leaves nothing to undo. For the others there are savepoints; but a savepoint
 * copies each page that is written in it (10 % of an enrolment's CPU), so they are set only when a batch needs them, which is then done
 * again from its beginning. A promise settles after COMMIT, never before. Not the verbs: those are the files beside it.
 */

import type { Database } from 'better-sqlite3'
import { asFleetError, isBroken, isLocked, unavailable } from './failures.ts'
import { LOCK_PATIENCE, pauseBefore } from './patience.ts'

/** Verbs in one transaction: more would hold the event loop too long. */
const BATCH = 100
/** Turns of the event loop that a burst is waited for. */
const MOST_TURNS = 8
/** Verbs waiting for a lock: more are refused at once, so that a locked database cannot fill the memory. */
const MOST_WAITING = 10_000

/** `run` may be called again after a rollback, so a verb reads and writes the database and nothing else. */
export type Write = <T>(verb: () => T) => Promise<T>

export interface GroupCommit extends AsyncDisposable {
  readonly write: Write
}

type Waiting = {
  readonly giveUpAt: number
  /** Runs the verb and keeps what came of it. */
  readonly attempt: (how: Attempt) => Outcome
  readonly refuse: Refuse
}
type Refuse = (error: unknown) => void
/** Called after COMMIT. */
type Outcome = () => void
type Attempt = <T>(verb: () => T, resolve: (result: T) => void, refuse: Refuse) => Outcome

/** A verb has failed after it had written: the batch must be done again, each verb in a savepoint. */
class HalfDone extends Error {}

/** What goes with each transaction, whatever verbs are in it. `settle`: how many verbs were committed; 0: it has failed. */
export type Companion = { keep(): void; settle(verbs: number): void }

const NOBODY: Companion = { keep: () => undefined, settle: () => undefined }

export const createGroupCommit = (database: Database, companion: Companion = NOBODY): GroupCommit => {
  const begin = database.prepare('begin immediate')
  const commit = database.prepare('commit')
  const rollback = database.prepare('rollback')
  /** rows written since the database was opened */
  const changes = database.prepare<[], number>('select total_changes()').pluck()
  const save = database.prepare('savepoint verb')
  const undo = database.prepare('rollback to verb')
  const release = database.prepare('release verb')

  const waiting: Waiting[] = []
  let timer: NodeJS.Timeout | NodeJS.Immediate | undefined
  let lockedFor = 0
  let closed = false
  let idle: (() => void) | undefined

  /** SQLite ends the whole transaction by itself on some errors of the disk; the batch is lost then, not this verb alone. */
  const isOfBatch = (error: unknown): boolean => !database.inTransaction || isLocked(error) || isBroken(error)

  const bare: Attempt = (verb, resolve, refuse) => {
    const before = changes.get()
    try {
      const result = verb()
      return () => resolve(result)
    } catch (error) {
      if (isOfBatch(error)) throw error
      if (changes.get() !== before) throw new HalfDone()
      return () => refuse(asFleetError(error))
    }
  }

  const inSavepoint: Attempt = (verb, resolve, refuse) => {
    save.run()
    try {
      const result = verb()
      release.run()
      return () => resolve(result)
    } catch (error) {
      if (isOfBatch(error)) throw error
      undo.run()
      release.run()
      return () => refuse(asFleetError(error))
    }
  }

  const commitAs = (how: Attempt, batch: readonly Waiting[]): readonly Outcome[] => {
    begin.run()
    try {
      const outcomes = batch.map(({ attempt }) => attempt(how))
      companion.keep()
      commit.run()
      companion.settle(batch.length)
      return outcomes
    } catch (error) {
      companion.settle(0)
      if (database.inTransaction) rollback.run()
      throw error
    }
  }

  const commitAll = (batch: readonly Waiting[]): readonly Outcome[] => {
    try {
      return commitAs(bare, batch)
    } catch (error) {
      if (error instanceof HalfDone) return commitAs(inSavepoint, batch)
      throw error
    }
  }

  const later = (): void => {
    timer ??= lockedFor === 0 ? setImmediate(whenQuiet, 0, 1) : setTimeout(flush, pauseBefore(lockedFor))
  }

  /** One more turn as long as each brings more: those that come in one burst share one fsync, and write a page that they share once. */
  const whenQuiet = (seen: number, turn: number): void => {
    if (waiting.length > seen && waiting.length < BATCH && turn < MOST_TURNS)
      timer = setImmediate(whenQuiet, waiting.length, turn + 1)
    else flush()
  }

  const waitForLock = (batch: readonly Waiting[], error: unknown): void => {
    lockedFor += 1
    const now = performance.now() + pauseBefore(lockedFor)
    waiting.unshift(...batch)
    // in order of arrival, so those that have waited longest stand first
    while (waiting[0] !== undefined && waiting[0].giveUpAt < now) waiting.shift()?.refuse(asFleetError(error))
  }

  const flush = (): void => {
    timer = undefined
    // a full batch did not wait for its timer
    if (waiting.length === 0) return
    const batch = waiting.splice(0, BATCH)
    try {
      const outcomes = commitAll(batch)
      lockedFor = 0
      for (const settle of outcomes) settle()
    } catch (error) {
      if (isLocked(error)) waitForLock(batch, error)
      else for (const { refuse } of batch) refuse(asFleetError(error))
    }
    if (waiting.length > 0) later()
    else {
      lockedFor = 0
      idle?.()
    }
  }

  const write: Write = (verb) =>
    new Promise((resolve, reject) => {
      if (closed) return reject(unavailable('the registry is closed'))
      if (waiting.length >= MOST_WAITING) return reject(unavailable('too many writes are waiting'))
      waiting.push({
        giveUpAt: performance.now() + LOCK_PATIENCE,
        attempt: (how) => how(verb, resolve, reject),
        refuse: reject,
      })
      if (waiting.length >= BATCH && lockedFor === 0) flush()
      else later()
    })

  return {
    write,
    /** What was asked before is still done, or refused within the patience for a lock. */
    async [Symbol.asyncDispose]() {
      closed = true
      if (waiting.length > 0) await new Promise<void>((resolve) => (idle = resolve))
    },
  }
}
