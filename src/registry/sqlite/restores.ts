/** Marks of history, and the end of tokens that an old backup brought back. Not when that is so: #enroll/restore-watch.ts. */

import { createHash } from 'node:crypto'
import { SECOND } from '#fleet/clock.ts'
import { MAX_SESSION } from '#fleet/session.ts'
import type { HistoryMark, RestoreMemory } from '../restores.ts'
import { CRL_NUMBER_LEAD } from '../revocations.ts'
import { createSessionRevocations } from './session-revocations.ts'
import type { Tools } from './verbs.ts'

type Entry = {
  readonly sequence: number
  readonly at: number
  readonly actor: string
  readonly action: string
  readonly subject: string
  readonly details: string
}

const digestOf = ({ sequence, at, actor, action, subject, details }: Entry): string =>
  createHash('sha256')
    .update(JSON.stringify([sequence, at, actor, action, subject, details]))
    .digest('hex')

const COLUMNS = 'sequence, at, actor, action, subject, details'

export const restoreVerbs = ({ database, journal, write, read }: Tools): RestoreMemory => {
  const newest = database.prepare<[], Entry>(`select ${COLUMNS} from audit order by sequence desc limit 1`)
  const at = database.prepare<[number], Entry>(`select ${COLUMNS} from audit where sequence = ?`)
  // whole lives, not only future ones: a clock that is wrong now must not spare a token that is good tomorrow
  const end = database.prepare(
    'update claim_tokens set revoked_at = ? where revoked_at is null and used < uses',
  )
  const endPrevious = database.prepare(
    'update service_tokens set previous_hash = null, previous_until = null where previous_hash is not null',
  )
  const sessions = createSessionRevocations({ database, journal })
  // The desk of before used numbers up to CRL_NUMBER_LEAD above its clock, and this file knows nothing of the last of them.
  const skipNumbers = database.prepare('update issuers set crl_number = max(crl_number, ?) + ?')
  return {
    historyMark: () =>
      read(() => {
        const entry = newest.get()
        return entry && { sequence: entry.sequence, digest: digestOf(entry) }
      }),
    holdsMark: ({ sequence, digest }: HistoryMark) =>
      read(() => {
        const entry = at.get(sequence)
        return entry !== undefined && digestOf(entry) === digest
      }),
    voidOutstandingTokens: ({ now, actor, why }) =>
      write(() => {
        const { changes } = end.run(now)
        const { changes: secrets } = endPrevious.run()
        // who logged out since, or was logged out, is forgotten
        sessions.keep([{ scope: 'everything', subject: '', before: now, expiresAt: now + MAX_SESSION }], now)
        skipNumbers.run(Math.floor(now / SECOND), CRL_NUMBER_LEAD)
        // what was issued since is not told in the feed, so a door's cursor may fit this history too: it looks at everything again
        journal.change({ kind: 'reset' })
        journal.audit({
          at: now,
          actor,
          action: 'registry.restored',
          subject: 'registry',
          details: { why, tokens_voided: changes, service_token_secrets_voided: secrets },
        })
        return changes
      }),
  }
}
