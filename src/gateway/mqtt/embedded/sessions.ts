/**
 * The embedded broker's persistent sessions: who has one, what it subscribed to, the ids of what came at QoS 2. A session whose client stays away
 * ends, and so does the oldest of an identity that has too many. Everything that must outlive the process is noted in the journal. Not the
 * queues: ./queues.ts.
 */

import type { Clock } from '#fleet/clock.ts'
import type { StoredBroker } from '#registry/broker-store.ts'
import { identityOf } from '../discard.ts'
import type { Row } from './journal.ts'
import { loadSessions } from './load-sessions.ts'
import { createQueues, messageOf, type QueueOptions } from './queues.ts'
import type { Publication, Session } from './session.ts'
import {
  fresh,
  INCOMING,
  QUEUED,
  SESSION,
  SUBSCRIPTION,
  type Incoming,
  type Queued,
  type SessionRow,
  type Subscription,
} from './stored.ts'
import { createTopicTree } from './topic-tree.ts'

export type SessionOptions = QueueOptions & {
  readonly clock: Clock
  /** a session has ended because its client stayed away, or its identity has others, newer ones */
  readonly expired: (clientId: string) => void
}

/** Of a session that ends: nothing of it is in the file once that is written. */
const over = <T extends Row>(row: T): T => Object.assign(row, { gone: true, stored: false })

export const createSessions = (o: SessionOptions) => {
  const { limits, clock, journal } = o
  const { setAway, put, enqueue, remove, empty } = createQueues(o)
  const sessions = new Map<string, Session>()
  /** ClientIDs with a suffix, by identity */
  const suffixed = new Map<string, Set<string>>()
  const byNumber = new Map<number, Session>()
  const subscribers = createTopicTree<Subscription>()
  let nextNumber = 1

  const add = (row: SessionRow): Session => {
    const session: Session = Object.assign(row, {
      subscriptions: new Map(),
      queue: new Map(),
      byPacketId: new Map(),
      incoming: new Map(),
      bytes: 0,
      nextId: 1,
      completedIn: 0,
      reader: undefined,
    })
    sessions.set(session.id, session)
    byNumber.set(session.number, session)
    const identity = identityOf(session.id)
    if (identity !== session.id) {
      const ids = suffixed.get(identity) ?? new Set()
      suffixed.set(identity, ids.add(session.id))
    }
    return session
  }

  const sessionOf = (id: string): Session => {
    const known = sessions.get(id)
    if (known !== undefined) return known
    const session = add({ ...fresh(), number: nextNumber++, id, awaySince: clock(), sentUpTo: 0 })
    journal.note(SESSION, session)
    return session
  }

  const forget = (session: Session): void => {
    for (const { filter } of session.subscriptions.values()) subscribers.delete(filter, session.id)
    sessions.delete(session.id)
    byNumber.delete(session.number)
    const identity = identityOf(session.id)
    const ids = suffixed.get(identity)
    ids?.delete(session.id)
    if (ids?.size === 0) suffixed.delete(identity)
    // its rows go with it; one that has not been written need not be
    for (const row of session.subscriptions.values()) journal.note(SUBSCRIPTION, over(row))
    for (const row of session.incoming.values()) journal.note(INCOMING, over(row))
    empty(session)
    session.gone = true
    journal.note(SESSION, session)
  }

  /** Every session of an identity, whatever its suffix. */
  const sessionsOf = (identity: string): readonly string[] => [
    ...(sessions.has(identity) ? [identity] : []),
    ...(suffixed.get(identity) ?? []),
  ]

  /** Ends those of its identity that have been away for longest, when there are more than `most`. */
  const makeWay = (session: Session, most: number): void => {
    const identity = identityOf(session.id)
    const tooMany = (suffixed.get(identity)?.size ?? 0) + (sessions.has(identity) ? 1 : 0) - most
    if (tooMany <= 0) return
    const away = sessionsOf(identity)
      .map((id) => sessions.get(id) as Session)
      .filter((other) => other.awaySince !== undefined)
      .toSorted((a, b) => (a.awaySince as number) - (b.awaySince as number))
    for (const oldest of away.slice(0, tooMany)) {
      forget(oldest)
      o.expired(oldest.id)
    }
  }

  /** @returns the sessions that want it, each at its highest QoS [MQTT-3.3.5-1] */
  const wantedBy = (topic: string): Map<number, Subscription> | undefined => {
    let best: Map<number, Subscription> | undefined
    subscribers.matching(topic, (subscription) => {
      best ??= new Map()
      const other = best.get(subscription.session)
      if (other === undefined || other.qos < subscription.qos) best.set(subscription.session, subscription)
    })
    return best
  }

  /** Messages are queued for it from now on, if it is still there. At QoS 0 nothing is. */
  const activate = (session: Session, filter: string): void => {
    const entry = session.subscriptions.get(filter)
    if (entry === undefined || session.gone) return
    if (entry.qos > 0) subscribers.set(filter, session.id, entry)
    else subscribers.delete(filter, session.id)
  }

  return {
    find: (id: string): Session | undefined => sessions.get(id),

    sessionsOf,

    /**
     * A message for whoever wants it, at QoS 1 or 2, connected or not.
     * @returns numbers of the sessions that have it now: then it is worth an acknowledgement only when it is on the disk
     */
    publish: (publication: Publication): ReadonlySet<number> | undefined => {
      const wanted = wantedBy(publication.topic)
      if (wanted === undefined) return undefined
      const message = messageOf(publication)
      const queuedFor = new Set<number>()
      for (const { session: number, qos } of wanted.values()) {
        const session = byNumber.get(number)
        // 0: it has just been lowered
        if (session === undefined || qos === 0) continue
        if (enqueue(session, message, Math.min(qos, publication.qos), false)) queuedFor.add(number)
      }
      return queuedFor.size > 0 ? queuedFor : undefined
    },
    /** For one session alone: a retained message that a new subscription brings. @returns undefined: there is no room */
    give: (session: Session, publication: Publication): Queued | undefined =>
      enqueue(session, messageOf(publication), publication.qos, true),

    /** PUBACK or PUBCOMP. An id that is not of a queued message is nobody's concern here. */
    acknowledged: (id: string, packetId: number): void => {
      const session = sessions.get(id)
      const queued = session?.byPacketId.get(packetId)
      if (session !== undefined && queued !== undefined) remove(session, queued)
    },
    /** PUBREC. @returns the batch before which PUBREL may not be said */
    released: (id: string, packetId: number): number => {
      const queued = sessions.get(id)?.byPacketId.get(packetId)
      // PUBREC of a message of QoS 1 is a client's mistake, and says nothing of it
      if (queued?.qos !== 2) return 0
      if (queued.released) return queued.batch
      queued.released = true
      queued.batch = journal.promise()
      journal.note(QUEUED, queued)
      return queued.batch
    },

    // ---- QoS 2 on the way in: the id is all that must be remembered, for the message has gone on already

    /** @returns undefined: there is no room for more */
    incoming: (session: Session, packetId: number): Incoming | undefined => {
      if (session.incoming.size >= limits.incomingPerSession) return undefined
      const entry: Incoming = { ...fresh(), session: session.number, packetId, batch: journal.promise() }
      session.incoming.set(packetId, entry)
      journal.note(INCOMING, entry)
      return entry
    },
    /** PUBREL. @returns the batch before which PUBCOMP may not be said */
    completed: (session: Session, packetId: number): number => {
      const entry = session.incoming.get(packetId)
      if (entry === undefined) return session.completedIn
      session.incoming.delete(packetId)
      entry.gone = true
      journal.note(INCOMING, entry)
      session.completedIn = journal.promise()
      return session.completedIn
    },

    // ---- coming and going

    /** A connection that goes on with its session, or begins one. */
    resume: (id: string): { readonly session: Session; readonly isNew: boolean } => {
      const isNew = !sessions.has(id)
      const session = sessionOf(id)
      // it is about to be told that its session is here
      if (session.awaySince !== undefined) setAway(session, clock())
      return { session, isNew }
    },
    /**
     * The broker has this client, or has done with it.
     * @param most sessions that its identity may have
     */
    arrived: (session: Session, most: number): void => {
      setAway(session, undefined)
      journal.note(SESSION, session)
      makeWay(session, most)
    },
    left: (session: Session): void => {
      if (session.gone) return
      session.reader = undefined
      setAway(session, clock())
      journal.note(SESSION, session)
    },
    /** Ends a session: nothing of it is left [MQTT-3.1.2-6]. @returns the batch before which nobody may be told; 0: there was none */
    end: (id: string): number => {
      const session = sessions.get(id)
      if (session === undefined) return 0
      forget(session)
      return journal.promise()
    },
    /** Ends the sessions of those who have been away for too long. */
    sweep: (): void => {
      const now = clock()
      for (const session of sessions.values()) {
        if (session.awaySince === undefined || now - session.awaySince < limits.away) continue
        forget(session)
        o.expired(session.id)
      }
    },

    // ---- subscriptions

    /** @returns whether it was not so before */
    subscribe: (session: Session, filter: string, qos: number): boolean => {
      const known = session.subscriptions.get(filter)
      if (known?.qos === qos) return false
      const entry = known ?? { ...fresh(), session: session.number, filter, qos }
      entry.qos = qos
      session.subscriptions.set(filter, entry)
      journal.note(SUBSCRIPTION, entry)
      return true
    },
    activate,
    unsubscribe: (session: Session, filter: string): boolean => {
      const entry = session.subscriptions.get(filter)
      if (entry === undefined) return false
      session.subscriptions.delete(filter)
      subscribers.delete(filter, session.id)
      entry.gone = true
      journal.note(SUBSCRIPTION, entry)
      return true
    },

    // ---- at start

    /** @returns the highest number of a message. @throws FleetError `config_invalid`: rows that belong to nothing */
    load: (stored: StoredBroker): number =>
      loadSessions(stored, {
        clock,
        journal,
        add: (row) => {
          nextNumber = Math.max(nextNumber, row.number + 1)
          return add(row)
        },
        put,
        activate,
      }),
  }
}
