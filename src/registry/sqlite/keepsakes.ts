/** What the registry keeps for others without reading it: sealed assertion keys, answers to repeat, the audit's pages. */

import type { AuditEntry } from '#fleet/credentials.ts'
import { DAY } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { IdempotentAnswer } from '../registry.ts'
import { numberAfter, rowsToRead, toPage } from './pages.ts'
import type { Tools, Verbs } from './verbs.ts'

/** Old answers dropped with each new one: more than come in, few enough not to be felt. */
const DROPPED_AT_ONCE = 50

type AnswerRow = { readonly request_hash: string; readonly sealed: Buffer }
type AuditRow = Omit<AuditEntry, 'details'> & { readonly details: string }

const toAnswer = (row: AnswerRow): IdempotentAnswer => ({ requestHash: row.request_hash, sealed: row.sealed })

const toAuditEntry = (row: AuditRow): AuditEntry => ({
  ...row,
  details: JSON.parse(row.details) as AuditEntry['details'],
})

export const assertionKeyVerbs = ({
  database,
  journal,
  write,
}: Tools): Verbs<'addAssertionKey' | 'removeAssertionKey'> => {
  const find = database.prepare('select 1 from assertion_keys where kid = ?')
  const newest = database
    .prepare<[], string>('select kid from assertion_keys order by number desc limit 1')
    .pluck()
  const add = database.prepare(
    'insert into assertion_keys (kid, algorithm, public_jwk, sealed, certificate, created_at) values (?, ?, ?, ?, ?, ?)',
  )
  const remove = database.prepare('delete from assertion_keys where kid = ?')
  return {
    addAssertionKey: (key, actor) =>
      write(() => {
        if (find.get(key.kid) !== undefined)
          throw new FleetError('conflict', 'an assertion key with this kid exists')
        add.run(key.kid, key.algorithm, key.publicJwk, key.sealed, key.certificate, key.createdAt)
        journal.audit({ at: key.createdAt, actor, action: 'assertion_key.added', subject: key.kid })
        journal.change({ kind: 'assertion_keys' })
      }),
    removeAssertionKey: (kid, now, actor) =>
      write(() => {
        if (find.get(kid) === undefined) return false
        if (newest.get() === kid)
          throw new FleetError('conflict', 'it is the newest assertion key, which signs')
        remove.run(kid)
        journal.audit({ at: now, actor, action: 'assertion_key.removed', subject: kid })
        journal.change({ kind: 'assertion_keys' })
        return true
      }),
  }
}

export const idempotencyVerbs = ({
  database,
  write,
  read,
  clock,
}: Tools): Verbs<'findIdempotent' | 'keepIdempotent' | 'forgetIdempotent'> => {
  const find = database.prepare<[string, string, number], AnswerRow>(
    'select request_hash, sealed from idempotent_answers where scope = ? and key = ? and created_at > ?',
  )
  const drop = database.prepare(`
    delete from idempotent_answers where (scope, key) in
      (select scope, key from idempotent_answers where created_at <= ? order by created_at limit ${DROPPED_AT_ONCE})`)
  const keep = database.prepare(`
    insert into idempotent_answers (scope, key, request_hash, sealed, created_at) values (?, ?, ?, ?, ?)
    on conflict (scope, key) do update
      set request_hash = excluded.request_hash, sealed = excluded.sealed, created_at = excluded.created_at`)
  const found = (scope: string, key: string, now: number) => {
    const row = find.get(scope, key, now - DAY)
    return row && toAnswer(row)
  }
  return {
    findIdempotent: (scope, key) => read(() => found(scope, key, clock())),
    keepIdempotent: (scope, key, answer, now) =>
      write(() => {
        drop.run(now - DAY)
        const first = found(scope, key, now)
        if (first !== undefined) return first
        keep.run(scope, key, answer.requestHash, answer.sealed, now)
        return answer
      }),
    forgetIdempotent: async (now) => {
      // in turns, so that nobody waits for a day's worth of them
      while ((await write(() => drop.run(now - DAY).changes)) > 0);
    },
  }
}

export const auditVerbs = ({ database, read }: Tools): Verbs<'listAudit'> => {
  const list = database.prepare<[number, number], AuditRow>(
    'select sequence, at, actor, action, subject, details from audit where sequence > ? order by sequence limit ?',
  )
  return {
    listAudit: (page) =>
      read(() =>
        toPage(page, list.all(numberAfter(page), rowsToRead(page)), (row) => row.sequence, toAuditEntry),
      ),
  }
}
