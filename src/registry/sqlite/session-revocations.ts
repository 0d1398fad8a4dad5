/**
 * Sessions that are void before their time: kept until nobody can have one of them any more, and read by the doors for each request. Not the
 * tokens themselves, which are on no record: #gateway/sessions.
 */

import { MAX_AHEAD, MAX_SESSION, type SessionRevocation } from '#fleet/session.ts'
import type { Logout } from '../registry.ts'
import type { Handle } from './handle.ts'
import type { Tools, Verbs } from './verbs.ts'

/**
 * How many are kept: each door has all of them in memory, and reads all of them after each change. Where there would be more, everything that
 * was issued so far is void instead. It is the last resort: whoever logs out takes one row, however often.
 */
const MOST = 10_000

/** Names of one anchor, which a foreign CA can make without end: beyond it they are one row, for everybody of that anchor. */
const MOST_OF_ANCHOR = 1_000

/** Holders named in the audit entry of many logouts. */
const MOST_NAMED = 20

/** @returns a function that throws SqliteError; one cheap select a call while nothing has changed, none for who knows the stamp */
export const createRevokedSessions = (
  database: Handle,
): ((stampNow?: string) => readonly SessionRevocation[]) => {
  const stamp = database.prepare<[], string>('select stamp from session_revocations_version').pluck()
  const all = database.prepare<[], SessionRevocation>(
    'select scope, subject, issued_until as before, expires_at as expiresAt from session_revocations order by scope, subject',
  )
  const take = database.transaction(() => ({ stamp: stamp.get(), revocations: all.all() }))
  let kept: ReturnType<typeof take> | undefined
  return (stampNow) => {
    if (kept === undefined || kept.stamp !== (stampNow ?? stamp.get())) kept = take()
    return kept.revocations
  }
}

type SessionRevocations = {
  /** With a change row when anything changed; the audit is the caller's. @returns those that said something new */
  keep(revocations: readonly SessionRevocation[], now: number): readonly SessionRevocation[]
}

/** Those of which names are among the subjects. */
const anchorsOf = (revocations: readonly SessionRevocation[]): ReadonlySet<string> =>
  new Set(
    revocations.flatMap(({ scope, subject }) => {
      const slash = subject.indexOf('/')
      return scope === 'device' && slash > 0 ? [subject.slice(0, slash)] : []
    }),
  )

/** For use inside a transaction. */
export const createSessionRevocations = ({
  database,
  journal,
}: Pick<Tools, 'database' | 'journal'>): SessionRevocations => {
  const drop = database.prepare('delete from session_revocations where expires_at <= ?')
  const store = database.prepare<[SessionRevocation]>(`
    insert into session_revocations (scope, subject, issued_until, expires_at) values (:scope, :subject, :before, :expiresAt)
    on conflict (scope, subject) do update
      set issued_until = max(issued_until, excluded.issued_until), expires_at = max(expires_at, excluded.expires_at)
      where (scope <> 'token' and excluded.issued_until > issued_until) or excluded.expires_at > expires_at`)
  // of one token the time of issue says nothing
  const total = database.prepare<
    [],
    { readonly count: number; readonly before: number; readonly expiresAt: number }
  >(`
    select count(*) as count, coalesce(max(issued_until) filter (where scope <> 'token'), 0) as before,
           coalesce(max(expires_at), 0) as expiresAt
    from session_revocations`)
  const clear = database.prepare('delete from session_revocations')
  // everything that begins with the name and its slash: `0` is what follows that
  const OF_ANCHOR = `from session_revocations where scope = 'device' and subject >= :anchor || '/' and subject < :anchor || '0'`
  const totalOf = database.prepare<
    [{ readonly anchor: string }],
    { readonly count: number; readonly before: number; readonly expiresAt: number }
  >(`select count(*) as count, max(issued_until) as before, max(expires_at) as expiresAt ${OF_ANCHOR}`)
  const clearOf = database.prepare<[{ readonly anchor: string }]>(`delete ${OF_ANCHOR}`)
  const restamp = database.prepare(
    'update session_revocations_version set stamp = lower(hex(randomblob(16)))',
  )

  /** A token that is revoked exists, so it was issued by now. */
  const replaceIfTooMany = (now: number): void => {
    const { count, before, expiresAt } = total.get() ?? { count: 0, before: 0, expiresAt: 0 }
    if (count <= MOST) return
    clear.run()
    store.run({
      scope: 'everything',
      subject: '',
      before: Math.max(now, before),
      expiresAt: Math.max(now + MAX_SESSION, expiresAt),
    })
    journal.audit({
      at: now,
      actor: 'system',
      action: 'sessions.revoked',
      subject: 'everything',
      details: { scope: 'everything', why: `more than ${MOST} revocations of sessions`, replaced: count },
    })
  }

  const mergeIfTooMany = (anchor: string, now: number): void => {
    const all = totalOf.get({ anchor })
    if (all === undefined || all.count <= MOST_OF_ANCHOR) return
    const { count, before, expiresAt } = all
    const subject = `${anchor}/`
    clearOf.run({ anchor })
    store.run({ scope: 'device', subject, before, expiresAt })
    journal.audit({
      at: now,
      actor: 'system',
      action: 'sessions.revoked',
      subject,
      details: {
        scope: 'device',
        why: `more than ${MOST_OF_ANCHOR} names of one anchor`,
        before,
        replaced: count,
      },
    })
  }

  return {
    keep: (revocations, now) => {
      const alive = revocations.filter(({ expiresAt }) => expiresAt > now)
      if (alive.length === 0) return []
      drop.run(now)
      const kept = alive.filter((each) => store.run(each).changes > 0)
      if (kept.length === 0) return []
      for (const anchor of anchorsOf(kept)) mergeIfTooMany(anchor, now)
      replaceIfTooMany(now)
      restamp.run()
      journal.change({ kind: 'credentials' })
      return kept
    },
  }
}

/** A session that began later than now is nobody's, unless the other desk's clock is ahead by as much as the doors allow. */
const revocationBy = ({ holder, at }: Logout, now: number): SessionRevocation => {
  const before = Math.min(at, now + MAX_AHEAD)
  return { scope: 'device', subject: holder, before, expiresAt: before + MAX_SESSION }
}

/** What the exposed desk says of logouts: one audit entry for all. @returns a function for use inside a transaction */
export const createLogouts = (
  tools: Pick<Tools, 'database' | 'journal'>,
): ((logouts: readonly Logout[], now: number) => void) => {
  const revocations = createSessionRevocations(tools)
  return (logouts, now) => {
    const kept = revocations.keep(
      logouts.map((each) => revocationBy(each, now)),
      now,
    )
    if (kept.length === 0) return
    tools.journal.audit({
      at: now,
      actor: 'system',
      action: 'sessions.revoked',
      subject: 'logout',
      details: {
        scope: 'device',
        count: kept.length,
        names: kept.slice(0, MOST_NAMED).map(({ subject }) => subject),
      },
    })
  }
}

export const sessionRevocationVerbs = (tools: Tools): Verbs<'revokeSessions'> => {
  const revocations = createSessionRevocations(tools)
  return {
    revokeSessions: (revocation, now, actor) =>
      tools.write(() => {
        if (revocations.keep([revocation], now).length === 0) return
        const { scope, subject, before, expiresAt } = revocation
        tools.journal.audit({
          at: now,
          actor,
          action: 'sessions.revoked',
          subject: scope === 'everything' ? scope : subject,
          details: { scope, before, expires_at: expiresAt },
        })
      }),
  }
}
