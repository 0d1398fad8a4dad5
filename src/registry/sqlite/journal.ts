/**
 * The two lists that changes are told to, in their own transaction: the audit (for people) and, of what a verdict of the doors may depend
 * on, the feed (for the doors). And the newest time of all that is on record. Not the reading of the lists: that is feed.ts and keepsakes.ts.
 */

import type { Actor } from '#fleet/credentials.ts'
import type { Change } from '../registry.ts'
import type { Handle } from './handle.ts'

/** Changes kept: a gateway that was away for longer starts over. */
const KEPT = 100_000
/** The feed is cut back once in so many changes. */
const CUT_EVERY = 1_000

export type Journal = {
  audit(entry: {
    readonly at: number
    readonly actor: Actor
    readonly action: string
    readonly subject: string
    readonly details?: Readonly<Record<string, unknown>>
  }): void
  change(change: Change): void
  /** How many changes of kind `access` this process has told, so that it need not ask the database whether there was one. */
  accessChanges(): number
  /** Something was recorded at this time, and has no audit entry. */
  note(at: number): void
  /** The newest time on record. */
  newest(): number
  /** Before each commit: what was noted is written with it. */
  keep(): void
  /** After it, of so many verbs; or after it has failed, 0. */
  settle(verbs: number): void
}

const subjectOf = (change: Change): string | null => {
  if (change.kind === 'device') return change.deviceId
  return change.kind === 'issuer' ? change.ski : null
}

export const createJournal = (database: Handle): Journal => {
  const addAudit = database.prepare(
    'insert into audit (at, actor, action, subject, details) values (?, ?, ?, ?, ?)',
  )
  const addChange = database.prepare('insert into changes (kind, subject) values (?, ?)')
  const cut = database.prepare('delete from changes where sequence <= ?')
  const newest = database.prepare<[], number>('select newest from recorded_time').pluck()
  // another process may have written meanwhile: `sallyport operator token create`
  const keepNewest = database
    .prepare<[number], number>('update recorded_time set newest = max(newest, ?) returning newest')
    .pluck()

  let accessChanges = 0
  let recorded = newest.get() ?? 0
  let noted = recorded
  const note = (at: number): void => {
    if (at > noted) noted = at
  }

  return {
    audit: ({ at, actor, action, subject, details = {} }) => {
      addAudit.run(at, actor, action, subject, JSON.stringify(details))
      note(at)
    },
    note,
    newest: () => recorded,
    keep: () => {
      if (noted > recorded) noted = keepNewest.get(noted) ?? noted
    },
    settle: (verbs) => {
      if (verbs > 0) recorded = noted
      else noted = recorded
    },
    accessChanges: () => accessChanges,
    change: (change) => {
      if (change.kind === 'access') accessChanges += 1
      const sequence = Number(addChange.run(change.kind, subjectOf(change)).lastInsertRowid)
      if (sequence % CUT_EVERY === 0) cut.run(sequence - KEPT)
    },
  }
}
