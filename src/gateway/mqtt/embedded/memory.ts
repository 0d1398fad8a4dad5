/**
 * What the embedded broker remembers, shaped as aedes asks for it. What aedes promises a client after one of these has resolved, is on the
 * disk by then (docs/decisions/0021). Publications do not come this way: ./broker.ts keeps and routes them itself.
 *
 * Not aedes' own memory store: that one has no bounds, finds a queued message by walking the queue, takes the wrong one out of it when a
 * delivery is dropped, and sends again without DUP.
 */

import { Readable } from 'node:stream'
import type { StoredBroker } from '#registry/broker-store.ts'
import type { Journal } from './journal.ts'
import { createRetained, type RetainedLimits } from './retained.ts'
import type { SessionLimits } from './session.ts'
import { createSessions, type SessionOptions } from './sessions.ts'

export type MemoryLimits = SessionLimits & RetainedLimits

export type ClientRef = { readonly id: string; readonly clean?: boolean }
type Identified = { readonly cmd: string; readonly messageId: number }

/** aedes takes a session without subscriptions for none. It asks whether this filter is allowed, hears no, and says that the session is here. */
const SOMETHING = [{ topic: '$SYS', qos: 0 }] as const

export const createMemory = (
  o: Omit<SessionOptions, 'limits' | 'dropped'> & {
    readonly limits: MemoryLimits
    readonly journal: Journal
    /** A message was not kept, or not any longer; `clientId`: whose session it was to be in. */
    readonly dropped: (what: 'queue' | 'evicted' | 'retained', clientId?: string) => void
    /** Did the broker grant this client this filter? aedes hands over the refused ones of a SUBSCRIBE too. */
    readonly granted: (client: ClientRef, filter: string) => boolean
  },
) => {
  const { journal } = o
  const sessions = createSessions(o)
  const retained = createRetained(o.limits, journal, () => o.dropped('retained'))
  /** QoS 2 ids of clients whose session ends with their connection */
  const incoming = new WeakMap<ClientRef, Set<number>>()

  const written = (batch: number): Promise<void> | undefined =>
    journal.isDone(batch) ? undefined : new Promise((resolve) => journal.after(batch, resolve))

  const persistence = {
    // aedes insists on an async function by its constructor's name
    setup: async (): Promise<void> => {},

    // ---- subscriptions

    addSubscriptions: async (
      client: ClientRef,
      subscriptions: readonly { readonly topic: string; readonly qos: number }[],
    ): Promise<void> => {
      const session = sessions.find(client.id)
      if (session === undefined) return
      // all of a SUBSCRIBE, once for each filter in it: what is known is passed by
      const granted = subscriptions.filter(({ topic }) => o.granted(client, topic))
      for (const { topic, qos } of granted) sessions.subscribe(session, topic, qos)
      await written(journal.promise())
      // and not before: what is queued for it must come on this connection too, and aedes delivers from now on
      for (const { topic } of granted) sessions.activate(session, topic)
    },
    removeSubscriptions: async (client: ClientRef, filters: readonly string[]): Promise<void> => {
      const session = sessions.find(client.id)
      if (session === undefined) return
      for (const filter of filters) sessions.unsubscribe(session, filter)
      await written(journal.promise())
    },
    /** Asked once per connection that goes on with its session, before anything is delivered on it. */
    subscriptionsByClient: async (
      client: ClientRef,
    ): Promise<readonly { readonly topic: string; readonly qos: number }[]> => {
      const { session, isNew } = sessions.resume(client.id)
      if (isNew) return []
      if (session.subscriptions.size === 0) return SOMETHING
      return Array.from(session.subscriptions.values(), ({ filter, qos }) => ({ topic: filter, qos }))
    },
    /** A clean session: nothing of the one before is left [MQTT-3.1.2-6], not even after a crash. */
    cleanSubscriptions: async (client: ClientRef): Promise<void> => written(sessions.end(client.id)),

    // ---- acknowledgements of what was sent

    /** PUBREC: aedes says PUBREL next. */
    outgoingUpdate: async (client: ClientRef, packet: Identified): Promise<void> =>
      written(sessions.released(client.id, packet.messageId)),
    outgoingClearMessageId: async (client: ClientRef, packet: Identified): Promise<void> =>
      sessions.acknowledged(client.id, packet.messageId),
    /** ./outbox.ts sends what is queued. */
    outgoingStream: (): Readable => Readable.from([]),

    // ---- QoS 2 on the way in

    /** Was this message here before? PUBREL of one that is not known gets its PUBCOMP too. */
    incomingGetPacket: async <T extends Identified>(client: ClientRef, packet: T): Promise<T> => {
      const session = client.clean === true ? undefined : sessions.find(client.id)
      const entry = session?.incoming.get(packet.messageId)
      if (packet.cmd === 'pubrel' && entry === undefined) await written(session?.completedIn ?? 0)
      // PUBREC says that the message is safe, to a second PUBLISH as to the first
      else if (entry !== undefined) await written(entry.batch)
      if (entry === undefined && incoming.get(client)?.has(packet.messageId) !== true)
        throw new Error('no such packet')
      return packet
    },
    incomingStorePacket: async (): Promise<void> => {},
    incomingDelPacket: async (client: ClientRef, packet: Identified): Promise<void> => {
      incoming.get(client)?.delete(packet.messageId)
      const session = client.clean === true ? undefined : sessions.find(client.id)
      if (session !== undefined) await written(sessions.completed(session, packet.messageId))
    },

    // ---- retained messages

    /** ./hand-out.ts sends what there is. */
    createRetainedStreamCombi: (): Readable => Readable.from([]),

    // ---- wills: a connection holds its own, and no other node can die

    putWill: async (): Promise<void> => {},
    delWill: async (): Promise<void> => {},
    streamWill: (): Readable => Readable.from([]),
  }

  return {
    sessions,
    retained,
    persistence,
    /**
     * A QoS 2 message has come: its id is remembered from here on.
     * @returns `known`: it has been here before; `full`: too many are open
     */
    arrived: (client: ClientRef, packetId: number): 'new' | 'known' | 'full' => {
      const session = client.clean === true ? undefined : sessions.find(client.id)
      if (session !== undefined) {
        if (session.incoming.has(packetId)) return 'known'
        return sessions.incoming(session, packetId) === undefined ? 'full' : 'new'
      }
      const ids = incoming.get(client) ?? new Set()
      if (ids.has(packetId)) return 'known'
      if (ids.size >= o.limits.incomingPerSession) return 'full'
      incoming.set(client, ids.add(packetId))
      return 'new'
    },
    /** @returns the highest number of a message in the file */
    load: (stored: StoredBroker): number => {
      const highest = sessions.load(stored)
      retained.load(stored)
      return highest
    },
  }
}

export type Memory = ReturnType<typeof createMemory>
