/**
 * The embedded broker's persistent sessions: subscriptions, queues of what is not acknowledged, ids of what came at QoS 2. Bounded for each
 * session and for all; a session whose client stays away ends. When all of it is full, the largest give way, and those that are away before
 * others. Everything that must outlive the process is noted in the journal. Not how anything is sent: ./outbox.ts.
 */

import type { Clock } from '#fleet/clock.ts'
import type { StoredBroker } from '#registry/broker-store.ts'
import { identityOf } from '../discard.ts'
import { createBySize } from './by-size.ts'
import type { Journal } from './journal.ts'
import { loadSessions } from './load-sessions.ts'
import { MAX_QUEUED_ID, type Publication, type Session, type SessionLimits } from './session.ts'
import {
  alone,
  fresh,
  INCOMING,
  MESSAGE,
  QUEUED,
  SESSION,
  sizeOf,
  SUBSCRIPTION,
  type Incoming,
  type Message,
  type Queued,
  type SessionRow,
  type Subscription,
} from './stored.ts'
import { createTopicTree } from './topic-tree.ts'

/** A queue is never longer, or there would be no free id. */
const LONGEST_QUEUE = 0x7000

export type SessionOptions = {
  readonly limits: SessionLimits
  readonly clock: Clock
  readonly journal: Journal
  /** A message was not queued, or it was and gives way to another. */
  readonly dropped: (what: 'queue' | 'evicted', clientId: string) => void
  /** a session has ended because its client stayed away */
  readonly expired: (clientId: string) => void
}

export type Sessions = ReturnType<typeof createSessions>

export const createSessions = (o: SessionOptions) => {
  const { limits, clock, journal } = o
  const longest = Math.min(limits.queuedPerSession, LONGEST_QUEUE)
  const sessions = new Map<string, Session>()
  /** ClientIDs with a suffix, by identity */
  const suffixed = new Map<string, Set<string>>()
  const byNumber = new Map<number, Session>()
  const subscribers = createTopicTree<Subscription>()
  const bySize = { away: createBySize<Session>(), here: createBySize<Session>() }
  let queuedBytes = 0
  let nextNumber = 1

  const sizesOf = ({ awaySince }: Session) => (awaySince === undefined ? bySize.here : bySize.away)

  const resize = (session: Session, by: number): void => {
    session.bytes += by
    queuedBytes += by
    if (session.bytes === 0) sizesOf(session).delete(session)
    else sizesOf(session).set(session, session.bytes)
  }

  /** @param since undefined: not any more */
  const setAway = (session: Session, since: number | undefined): void => {
    sizesOf(session).delete(session)
    session.awaySince = since
    if (session.bytes > 0) sizesOf(session).set(session, session.bytes)
  }

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

  /** One queue less has it. */
  const letGo = (message: Message): void => {
    message.refs--
    if (message.refs > 0) return
    message.gone = true
    journal.note(MESSAGE, message)
  }

  const remove = (session: Session, queued: Queued): void => {
    session.queue.delete(queued.message.number)
    session.byPacketId.delete(queued.packetId)
    resize(session, -sizeOf(queued.message))
    queued.gone = true
    journal.note(QUEUED, queued)
    letGo(queued.message)
  }

  const forget = (session: Session): void => {
    for (const { filter } of session.subscriptions.values()) subscribers.delete(filter, session.id)
    resize(session, -session.bytes)
    sessions.delete(session.id)
    byNumber.delete(session.number)
    const identity = identityOf(session.id)
    const ids = suffixed.get(identity)
    ids?.delete(session.id)
    if (ids?.size === 0) suffixed.delete(identity)
    // its rows go with it; one that has not been written need not be
    const children: readonly Iterable<Subscription | Queued | Incoming>[] = [
      session.subscriptions.values(),
      session.queue.values(),
      session.incoming.values(),
    ]
    for (const rows of children)
      for (const row of rows) {
        row.gone = true
        row.stored = false
      }
    for (const { message } of session.queue.values()) letGo(message)
    session.gone = true
    journal.note(SESSION, session)
  }

  /** Nobody gives way to one who has more. @returns false: there is no room */
  const makeRoom = (size: number, session: Session): boolean => {
    while (queuedBytes + size > limits.queuedBytes) {
      const wanted = session.bytes + size
      const victim = bySize.away.largest(wanted) ?? bySize.here.largest(wanted)
      const [oldest] = victim?.queue.values() ?? []
      if (victim === undefined || oldest === undefined) return false
      remove(victim, oldest)
      o.dropped('evicted', victim.id)
    }
    return true
  }

  const freeId = (session: Session): number => {
    let id = session.nextId
    while (session.byPacketId.has(id)) id = id >= MAX_QUEUED_ID ? 1 : id + 1
    session.nextId = id >= MAX_QUEUED_ID ? 1 : id + 1
    return id
  }

  const put = (session: Session, queued: Queued): void => {
    session.queue.set(queued.message.number, queued)
    session.byPacketId.set(queued.packetId, queued)
    queued.message.refs++
    // making room for one session may have taken it out of another's queue
    queued.message.gone = false
    resize(session, sizeOf(queued.message))
  }

  /** @returns undefined: there is no room for it */
  const enqueue = (session: Session, message: Message, qos: number, retain: boolean): Queued | undefined => {
    const size = sizeOf(message)
    if (
      session.queue.size >= longest ||
      session.bytes + size > limits.queuedBytesPerSession ||
      !makeRoom(size, session)
    ) {
      o.dropped('queue', session.id)
      return undefined
    }
    const queued: Queued = {
      ...fresh(),
      session: session.number,
      message,
      qos,
      packetId: freeId(session),
      retain,
      sent: false,
      released: false,
      batch: journal.promise(),
    }
    put(session, queued)
    journal.note(MESSAGE, message)
    journal.note(QUEUED, queued)
    session.reader?.queued(queued)
    return queued
  }

  const messageOf = ({ number, topic, payload }: Publication): Message => ({
    ...fresh(),
    number,
    topic,
    payload: alone(payload),
    refs: 0,
  })

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

    /** Every session of an identity, whatever its suffix. */
    sessionsOf: (identity: string): readonly string[] => [
      ...(sessions.has(identity) ? [identity] : []),
      ...(suffixed.get(identity) ?? []),
    ],

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
      if (queued === undefined || queued.released) return queued?.batch ?? 0
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
    /** The broker has this client, or has done with it. */
    arrived: (session: Session): void => {
      setAway(session, undefined)
      journal.note(SESSION, session)
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
