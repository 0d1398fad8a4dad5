/**
 * Admission's verdict as a connection of this door needs it: the first one, and the second look at what runs already when something has changed.
 * Not the ladder: #policy/admission.ts. Not what becomes of the request: admitted.ts.
 */

import type { Application } from '#fleet/access.ts'
import type { Credentials } from '#policy/admission.ts'
import type { Allowed, Ask, Decision } from '#policy/decision.ts'
import type { Admission } from '../admission.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Connection, Turn } from './connection.ts'
import type { Envelope } from './envelope.ts'

export type JudgingDeps = { readonly admission: Admission; readonly sessions: Sessions }

/** What was asked and let in, as far as it is judged. */
export type Judged = {
  readonly connection: Connection
  readonly turn: Turn
  readonly ask: Ask
  readonly credentials: Credentials
  readonly envelope: Envelope
  readonly decision: Allowed
}

/**
 * Admission's verdict, held against sessions that were ended early: a connection within a session goes on without sending its token, and the
 * handshake is what the session began with.
 */
export const judgeOn = (
  { admission, sessions }: JudgingDeps,
  { peer, since }: Connection,
  ask: Ask,
  credentials: Credentials,
): Decision => {
  const decision = admission.judge(peer, ask, credentials)
  if (!decision.allow || decision.plan.duration === 0 || !sessions.endedSince(decision, since))
    return decision
  return { allow: false, reason: 'session_expired', identity: decision.identity }
}

/** What runs goes to where its application was when it began. */
const isElsewhere = (before: Application, now: Application): boolean => {
  const originsOf = ({ https }: Application): string => JSON.stringify([https?.origin].flat())
  return before !== now && (before.id !== now.id || originsOf(before) !== originsOf(now))
}

/** The verdict on what runs already. An answer may outlast its session, which a WebSocket may not. */
export const judgeAgain = (
  deps: JudgingDeps,
  { connection, turn: { request, early }, ask, credentials, envelope, decision }: Judged,
): Decision => {
  const mayOutlast = ask.door === 'https' && early === undefined
  const now = mayOutlast ? { ...ask, running: true } : ask
  const held =
    mayOutlast && decision.session !== undefined
      ? deps.sessions.credentialsOf(request, connection.peer, envelope.host, true)
      : credentials
  const again = judgeOn(deps, connection, now, held)
  if (!again.allow) return again
  const { identity, application } = decision
  // a request would begin another session now; what runs is of the one that is gone
  const isOver = decision.session !== undefined && again.session === undefined && again.plan.duration > 0
  const isGone = isElsewhere(application, again.application)
  if (!isGone && !isOver) return again
  const reason = isGone ? 'no_application' : 'session_expired'
  return { allow: false, reason, identity, application: application.name }
}
