/**
 * The embedded broker's persistent sessions: subscriptions, and queues of what is not acknowledged. In memory, bounded for each session and
 * for all; a session whose client stays away ends. When all of it is full, the largest give way, and those that are away before others.
 * Not whether a client gets a message while it is connected: it does, queued or not.
 */

import { Readable } from 'node:stream'
import type { Clock } from '#fleet/clock.ts'
import { createBySize } from './by-size.ts'
import { compact, sizeOf, type BrokerPacket } from './stored.ts'
import { createTopicTree } from './topic-tree.ts'

export type SessionLimits = {
  /** unacknowledged and waiting messages of one session, and their bytes */
  readonly queuedPerSession: number
  readonly queuedBytesPerSession: number
  readonly queuedBytes: number
  /** ms that a client may be away */
  readonly away: number
}

export type Subscription = { readonly topic: string; readonly qos: number }
export type ClientRef = { readonly id: string }
/** `clientId` holds `topic`, at `qos`. */
type Match = { clientId: string; topic: string; qos: number }

type Queued = {
  packet: BrokerPacket
  messageId: number | undefined
  /** the connection it was last sent on, as the session counts them; 0: not sent yet */
  sentOn: number
  /** PUBREC has come */
  released: boolean
}

type Session = {
  readonly id: string
  readonly subscriptions: Map<string, number>
  /** by brokerCounter, oldest first */
  readonly queue: Map<number, Queued>
  readonly byMessageId: Map<number, Queued>
  bytes: number
  /** rises with each connection */
  connection: number
  /** undefined: its client is connected */
  awaySince: number | undefined
}

const MAX_ID = 0xffff

/** An id that no message of this session has. A new connection counts its ids from anywhere, and may come upon one that is in flight. */
const freeId = ({ byMessageId }: Session, wanted = 1): number => {
  let id = wanted
  while (byMessageId.has(id)) id = id >= MAX_ID ? 1 : id + 1
  return id
}

/** PUBLISH again with DUP [MQTT-3.3.1-1]; from PUBREC on only PUBREL is said again. */
const again = ({ packet, messageId, sentOn, released }: Queued): BrokerPacket => ({
  ...packet,
  ...(released ? { cmd: 'pubrel' } : { dup: sentOn > 0 }),
  ...(messageId === undefined ? {} : { messageId }),
})

export type SessionOptions = {
  readonly limits: SessionLimits
  readonly clock: Clock
  /** A message was not queued, or it was and gives way to another. */
  readonly dropped: (what: 'queue' | 'evicted', clientId: string) => void
  /** a session has ended because its client stayed away */
  readonly expired: (clientId: string) => void
  /** Did the broker grant this client this filter? aedes hands over the refused ones of a SUBSCRIBE too. */
  readonly granted: (client: ClientRef, filter: string) => boolean
  /** Resolves when the client can take more; undefined: now. */
  readonly pace: (client: ClientRef) => Promise<void> | undefined
}

export const createSessions = (o: SessionOptions) => {
  const { limits, clock } = o
  const sessions = new Map<string, Session>()
  const subscribers = createTopicTree<Match>()
  const bySize = { away: createBySize<Session>(), here: createBySize<Session>() }
  let queuedBytes = 0

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

  const sessionOf = (id: string): Session => {
    let session = sessions.get(id)
    if (session === undefined) {
      session = {
        id,
        subscriptions: new Map(),
        queue: new Map(),
        byMessageId: new Map(),
        bytes: 0,
        connection: 0,
        awaySince: clock(),
      }
      sessions.set(id, session)
    }
    return session
  }

  const forget = (session: Session): void => {
    for (const filter of session.subscriptions.keys()) subscribers.delete(filter, session.id)
    resize(session, -session.bytes)
    sessions.delete(session.id)
  }

  const remove = (session: Session, queued: Queued): void => {
    session.queue.delete(queued.packet.brokerCounter)
    if (queued.messageId !== undefined) session.byMessageId.delete(queued.messageId)
    resize(session, -sizeOf(queued.packet))
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

  const enqueue = (match: Match, packet: BrokerPacket): void => {
    const session = sessionOf(match.clientId)
    const size = sizeOf(packet)
    if (
      session.queue.size >= limits.queuedPerSession ||
      session.bytes + size > limits.queuedBytesPerSession ||
      !makeRoom(size, session)
    )
      return o.dropped('queue', session.id)
    const copy = { ...compact(packet), qos: Math.min(packet.qos, match.qos), retain: false, dup: false }
    session.queue.set(packet.brokerCounter, {
      packet: copy,
      messageId: undefined,
      sentOn: 0,
      released: false,
    })
    resize(session, size)
  }

  async function* waiting(client: ClientRef, queue: readonly Queued[]): AsyncGenerator<BrokerPacket> {
    for (const queued of queue) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other is the point
      await o.pace(client)
      const session = sessions.get(client.id)
      // it may have been delivered on this very connection meanwhile, or acknowledged
      if (session?.queue.get(queued.packet.brokerCounter) === queued && queued.sentOn !== session.connection)
        yield again(queued)
    }
  }

  return {
    /** The broker has this client, or has done with it. A client without a session is nobody's concern here. */
    arrived: (id: string): void => {
      const session = sessions.get(id)
      if (session !== undefined) setAway(session, undefined)
    },
    left: (id: string): void => {
      const session = sessions.get(id)
      if (session !== undefined) setAway(session, clock())
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

    // ---- subscriptions, as aedes calls them

    addSubscriptions: async (client: ClientRef, subscriptions: readonly Subscription[]): Promise<void> => {
      const session = sessionOf(client.id)
      // all of a SUBSCRIBE, once for each filter in it: what is known is passed by
      for (const { topic, qos } of subscriptions) {
        if (session.subscriptions.get(topic) === qos || !o.granted(client, topic)) continue
        session.subscriptions.set(topic, qos)
        if (qos > 0) subscribers.set(topic, client.id, { clientId: client.id, topic, qos })
        else subscribers.delete(topic, client.id)
      }
    },
    removeSubscriptions: async (client: ClientRef, filters: readonly string[]): Promise<void> => {
      for (const filter of filters) {
        sessions.get(client.id)?.subscriptions.delete(filter)
        subscribers.delete(filter, client.id)
      }
    },
    /** Asked once per connection that goes on with its session, before anything is delivered on it. */
    subscriptionsByClient: async (client: ClientRef): Promise<Subscription[]> => {
      const session = sessionOf(client.id)
      session.connection++
      // it is about to be told that its session is here
      if (session.awaySince !== undefined) session.awaySince = clock()
      return Array.from(session.subscriptions, ([topic, qos]) => ({ topic, qos }))
    },
    /** One per client, at its highest QoS [MQTT-3.3.5-1]. */
    subscriptionsByTopic: async (name: string): Promise<Match[]> => {
      const best = new Map<string, Match>()
      subscribers.matching(name, (match, id) => {
        const other = best.get(id)
        if (other === undefined || other.qos < match.qos) best.set(id, match)
      })
      return [...best.values()]
    },
    /** A clean session: nothing of the one before is left [MQTT-3.1.2-6]. */
    cleanSubscriptions: async (client: ClientRef): Promise<void> => {
      const session = sessions.get(client.id)
      if (session !== undefined) forget(session)
    },

    // ---- queues, as aedes calls them

    outgoingEnqueueCombi: async (matches: readonly Match[], packet: BrokerPacket): Promise<void> => {
      for (const match of matches) enqueue(match, packet)
    },
    /** Gives a message its packet id, or notes its PUBREC. One that is not queued gets an id that is none of theirs. */
    outgoingUpdate: async (client: ClientRef, packet: BrokerPacket): Promise<void> => {
      const session = sessions.get(client.id)
      if (session === undefined) return
      if (packet.cmd === 'pubrel') {
        const queued = packet.messageId === undefined ? undefined : session.byMessageId.get(packet.messageId)
        if (queued !== undefined) queued.released = true
        return
      }
      const queued = session.queue.get(packet.brokerCounter)
      if (queued === undefined) {
        packet.messageId = freeId(session, packet.messageId)
        return
      }
      queued.sentOn = session.connection
      if (queued.messageId === packet.messageId) return
      const id = freeId(session, packet.messageId)
      if (queued.messageId !== undefined) session.byMessageId.delete(queued.messageId)
      packet.messageId = id
      queued.messageId = id
      session.byMessageId.set(id, queued)
    },
    outgoingClearMessageId: async (
      client: ClientRef,
      packet: { readonly messageId?: number },
    ): Promise<BrokerPacket | undefined> => {
      // without an id aedes means "a delivery was not made": the message stays for the next connection
      if (packet.messageId === undefined) return undefined
      const session = sessions.get(client.id)
      const queued = session?.byMessageId.get(packet.messageId)
      if (session === undefined || queued === undefined) return undefined
      remove(session, queued)
      return queued.packet
    },
    outgoingStream: (client: ClientRef): Readable =>
      Readable.from(waiting(client, [...(sessions.get(client.id)?.queue.values() ?? [])])),
  }
}
