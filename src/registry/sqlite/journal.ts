/**
 * The two lists that every change is told to, in its own transaction: the audit (for people) and the feed (for the doors).
 * Not the reading of them: that is feed.ts and keepsakes.ts.
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
  return {
    audit: ({ at, actor, action, subject, details = {} }) => {
      addAudit.run(at, actor, action, subject, JSON.stringify(details))
    },
    change: (change) => {
      const sequence = Number(addChange.run(change.kind, subjectOf(change)).lastInsertRowid)
      if (sequence % CUT_EVERY === 0) cut.run(sequence - KEPT)
    },
  }
}
