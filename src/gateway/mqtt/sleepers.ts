/**
 * Sessions whose devices are away: watched, so that what waits at the broker for a device does not outlive its welcome. A device that is
 * revoked while it is away, and enrolled anew, finds nothing of before; one that renewed its certificate finds its session (./session-ends.ts).
 * Not the sessions themselves: those are the broker's.
 */

import type { Peer } from '#fleet/peer.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Admission } from '../admission.ts'
import type { Live } from '../live.ts'
import { identityOf } from './discard.ts'
import type { ConnectAsk } from './greeting.ts'
import type { Holders } from './holders.ts'
import { mostSessions } from './kept-sessions.ts'
import type { EndsSession, SessionOwned } from './session-ends.ts'

export type Sleeper = SessionOwned & {
  readonly peer: Peer
  readonly ask: ConnectAsk
  /** how many its identity may have at once */
  readonly connections: number
}

export type Sleepers = {
  /** The connection that held this ClientID (at the broker) has gone, and its session stays. */
  sleep(clientId: string, sleeper: Sleeper): void
  /**
   * A connection has come for it: if the last one would no longer be welcome, the session ends before it is gone on with.
   * @returns who slept, to be put back if the connection comes to nothing
   */
  wake(clientId: string): Sleeper | undefined
  /** There is no session any more. */
  forget(clientId: string): void
}

/** The certificate as if it had no dates: that it has run out says nothing of the session, for its device may have another one by now. */
const undated = (peer: Peer): Peer =>
  peer.leaf === undefined
    ? peer
    : { ...peer, leaf: { ...peer.leaf, notBefore: -Infinity, notAfter: Infinity } }

/** Sessions watched, 0.6 KB each. */
const MOST = 200_000

/** @param o.most watched at a time; of more the one that has slept longest is watched no longer, and stays at the broker */
export const createSleepers = (o: {
  readonly admission: Pick<Admission, 'judge'>
  readonly live: Pick<Live, 'add'>
  readonly holders: Pick<Holders, 'discard'>
  readonly endsSession: EndsSession
  readonly log: Pick<Log, 'warn'>
  readonly metrics: Pick<Metrics, 'counter'>
  readonly most?: number
}): Sleepers => {
  const { admission, live, holders, endsSession, most = MOST } = o
  const unwatched = o.metrics.counter(
    'sallyport_mqtt_unwatched_sessions_total',
    'Sessions of devices that are away, watched no longer because there are too many',
    [],
  )
  const entries = new Map<string, { readonly sleeper: Sleeper; readonly watch: Disposable }>()
  /** ClientIDs, the one that has slept longest first */
  const byIdentity = new Map<string, string[]>()
  let warned = false

  const forget = (clientId: string): void => {
    const entry = entries.get(clientId)
    if (entry === undefined) return
    entry.watch[Symbol.dispose]()
    entries.delete(clientId)
    const identity = identityOf(clientId)
    const others = (byIdentity.get(identity) ?? []).filter((id) => id !== clientId)
    if (others.length === 0) byIdentity.delete(identity)
    else byIdentity.set(identity, others)
  }

  const end = (clientId: string): void => {
    forget(clientId)
    holders.discard(clientId)
  }

  const recheck = (clientId: string): void => {
    const sleeper = entries.get(clientId)?.sleeper
    if (sleeper === undefined) return
    const decision = admission.judge(undated(sleeper.peer), sleeper.ask)
    if (!decision.allow && endsSession(decision.reason, sleeper)) end(clientId)
  }

  /** That many others are away must not end anybody's session: it is only watched no longer. */
  const makeRoom = (): void => {
    if (entries.size <= most) return
    forget(entries.keys().next().value as string)
    unwatched.inc()
    if (warned) return
    warned = true
    o.log.warn({ door: 'mqtt', most }, 'too many sessions are away: not all are watched any longer')
  }

  return {
    sleep: (clientId, sleeper) => {
      forget(clientId)
      const watch = live.add({
        deviceId: sleeper.deviceId,
        recheck: () => recheck(clientId),
        drain: () => {},
        asleep: true,
        certificateOnly: true,
      })
      entries.set(clientId, { sleeper, watch })
      const identity = identityOf(clientId)
      const all = [...(byIdentity.get(identity) ?? []), clientId]
      byIdentity.set(identity, all)
      for (const id of all.slice(0, -mostSessions(sleeper.connections))) end(id)
      makeRoom()
    },
    wake: (clientId) => {
      recheck(clientId)
      const sleeper = entries.get(clientId)?.sleeper
      forget(clientId)
      return sleeper
    },
    forget,
  }
}
