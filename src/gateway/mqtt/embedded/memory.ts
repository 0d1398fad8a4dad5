/**
 * What the embedded broker remembers: persistent sessions with their queues, retained messages, QoS 2 ids. In memory, bounded in every
 * direction, gone with the process: docs/decisions/0021 says what its acknowledgements are worth. Shaped as aedes calls a persistence.
 *
 * Not aedes' own memory store: that one has no bounds, finds a queued message by walking the queue, takes the wrong one out of it when a
 * delivery is dropped, and sends again without DUP.
 */

import { Readable } from 'node:stream'
import { createTopicTree } from './topic-tree.ts'

export type MemoryLimits = {
  /** unacknowledged and waiting messages of one session, and their bytes */
  readonly queuedPerSession: number
  readonly queuedBytesPerSession: number
  readonly queuedBytes: number
  readonly retained: number
  readonly retainedPerClient: number
  readonly retainedBytes: number
}

/** A PUBLISH or PUBREL as aedes carries it. */
export type BrokerPacket = {
  cmd: string
  brokerId?: string | null
  brokerCounter: number
  topic: string
  payload: Buffer
  qos: number
  retain: boolean
  dup: boolean
  messageId?: number
  /** who published it */
  clientId?: string
}

export type Subscription = { readonly topic: string; readonly qos: number }
type ClientRef = { readonly id: string }
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
  readonly subscriptions: Map<string, number>
  /** by brokerCounter, oldest first */
  readonly queue: Map<number, Queued>
  readonly byMessageId: Map<number, Queued>
  bytes: number
  /** rises with each connection */
  connection: number
}

/** What a stored message is counted for beyond its payload and topic. */
const OVERHEAD = 200
const sizeOf = (packet: BrokerPacket): number => OVERHEAD + packet.topic.length + packet.payload.length

/** A payload is a slice of a larger read, and so is a copy in Node's pool: keeping either would keep all of it. */
const alone = (payload: Buffer): Buffer => {
  if (payload.buffer.byteLength === payload.length) return payload
  const own = Buffer.allocUnsafeSlow(payload.length)
  payload.copy(own)
  return own
}

const compact = (packet: BrokerPacket): BrokerPacket => ({ ...packet, payload: alone(packet.payload) })

const MAX_ID = 0xffff

export const createMemory = (o: {
  readonly limits: MemoryLimits
  /** a message was not kept */
  readonly dropped: (what: 'queue' | 'retained') => void
  /** Did the broker grant this client this filter? aedes hands over the refused ones of a SUBSCRIBE too. */
  readonly granted: (client: ClientRef, filter: string) => boolean
  /** Resolves when the client can take more; undefined: now. */
  readonly pace: (client: ClientRef) => Promise<void> | undefined
}) => {
  const { limits } = o
  const sessions = new Map<string, Session>()
  const subscribers = createTopicTree<Match>()
  const retained = createTopicTree<BrokerPacket>()
  const retainedByTopic = new Map<string, BrokerPacket>()
  const retainedPerClient = new Map<string, number>()
  const incoming = new Map<string, Set<number>>()
  let queuedBytes = 0
  let retainedBytes = 0

  const sessionOf = (id: string): Session => {
    let session = sessions.get(id)
    if (session === undefined) {
      session = {
        subscriptions: new Map(),
        queue: new Map(),
        byMessageId: new Map(),
        bytes: 0,
        connection: 0,
      }
      sessions.set(id, session)
    }
    return session
  }

  const remove = (session: Session, queued: Queued): void => {
    session.queue.delete(queued.packet.brokerCounter)
    if (queued.messageId !== undefined) session.byMessageId.delete(queued.messageId)
    const size = sizeOf(queued.packet)
    session.bytes -= size
    queuedBytes -= size
  }

  const enqueue = (match: Match, packet: BrokerPacket): void => {
    const session = sessionOf(match.clientId)
    const size = sizeOf(packet)
    if (
      session.queue.size >= limits.queuedPerSession ||
      session.bytes + size > limits.queuedBytesPerSession ||
      queuedBytes + size > limits.queuedBytes
    )
      return o.dropped('queue')
    const copy = { ...compact(packet), qos: Math.min(packet.qos, match.qos), retain: false, dup: false }
    session.queue.set(packet.brokerCounter, {
      packet: copy,
      messageId: undefined,
      sentOn: 0,
      released: false,
    })
    session.bytes += size
    queuedBytes += size
  }

  const forgetRetained = (topic: string): void => {
    const old = retainedByTopic.get(topic)
    if (old === undefined) return
    const owner = old.clientId ?? ''
    const left = (retainedPerClient.get(owner) ?? 1) - 1
    if (left === 0) retainedPerClient.delete(owner)
    else retainedPerClient.set(owner, left)
    retainedBytes -= sizeOf(old)
    retainedByTopic.delete(topic)
    retained.delete(topic, '')
  }

  /** PUBLISH again with DUP [MQTT-3.3.1-1]; from PUBREC on only PUBREL is said again. */
  const again = ({ packet, messageId, sentOn, released }: Queued): BrokerPacket => ({
    ...packet,
    ...(released ? { cmd: 'pubrel' } : { dup: sentOn > 0 }),
    ...(messageId === undefined ? {} : { messageId }),
  })

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
    // aedes insists on an async function by its constructor's name
    setup: async (): Promise<void> => {},

    // ---- retained messages

    storeRetained: async (packet: BrokerPacket): Promise<void> => {
      const { topic } = packet
      const size = sizeOf(packet)
      const owner = packet.clientId ?? ''
      forgetRetained(topic)
      if (packet.payload.length === 0) return // [MQTT-3.3.1-10, -11]
      const owned = retainedPerClient.get(owner) ?? 0
      if (
        retainedByTopic.size >= limits.retained ||
        owned >= limits.retainedPerClient ||
        retainedBytes + size > limits.retainedBytes
      )
        return o.dropped('retained')
      const kept = compact(packet)
      retainedByTopic.set(topic, kept)
      retained.set(topic, '', kept)
      retainedPerClient.set(owner, owned + 1)
      retainedBytes += size
    },
    createRetainedStreamCombi: (filters: readonly string[]): Readable => {
      const found: BrokerPacket[] = []
      for (const filter of filters) retained.under(filter, (packet) => found.push(packet))
      return Readable.from(found)
    },

    // ---- subscriptions of persistent sessions

    addSubscriptions: async (client: ClientRef, subscriptions: readonly Subscription[]): Promise<void> => {
      const session = sessionOf(client.id)
      for (const { topic, qos } of subscriptions) {
        if (!o.granted(client, topic)) continue
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
      if (session === undefined) return
      for (const filter of session.subscriptions.keys()) subscribers.delete(filter, client.id)
      queuedBytes -= session.bytes
      sessions.delete(client.id)
    },

    // ---- queues

    outgoingEnqueueCombi: async (matches: readonly Match[], packet: BrokerPacket): Promise<void> => {
      for (const match of matches) enqueue(match, packet)
    },
    /** Gives a queued message its packet id, or notes its PUBREC. A message that is not queued is let through. */
    outgoingUpdate: async (client: ClientRef, packet: BrokerPacket): Promise<void> => {
      const session = sessions.get(client.id)
      if (session === undefined) return
      if (packet.cmd === 'pubrel') {
        const queued = packet.messageId === undefined ? undefined : session.byMessageId.get(packet.messageId)
        if (queued !== undefined) queued.released = true
        return
      }
      const queued = session.queue.get(packet.brokerCounter)
      if (queued === undefined) return
      queued.sentOn = session.connection
      if (queued.messageId === packet.messageId) return
      // a new connection counts its ids from anywhere, and may come upon one that is still in flight
      let id = packet.messageId ?? 1
      while (session.byMessageId.has(id)) id = id >= MAX_ID ? 1 : id + 1
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
    isQueued: (clientId: string, counter: number): boolean =>
      sessions.get(clientId)?.queue.has(counter) === true,

    // ---- QoS 2 on the way in: the id is all that must be remembered, for the message has gone on already

    incomingStorePacket: async (client: ClientRef, packet: { readonly messageId: number }): Promise<void> => {
      let ids = incoming.get(client.id)
      if (ids === undefined) incoming.set(client.id, (ids = new Set()))
      ids.add(packet.messageId)
    },
    incomingGetPacket: async <T extends { readonly messageId: number }>(
      client: ClientRef,
      packet: T,
    ): Promise<T> => {
      if (incoming.get(client.id)?.has(packet.messageId) !== true) throw new Error('no such packet')
      return packet
    },
    incomingDelPacket: async (client: ClientRef, packet: { readonly messageId: number }): Promise<void> => {
      const ids = incoming.get(client.id)
      ids?.delete(packet.messageId)
      if (ids?.size === 0) incoming.delete(client.id)
    },
    cleanIncoming: async (client: ClientRef): Promise<void> => void incoming.delete(client.id),

    // ---- wills: a connection holds its own, and no other node can die

    putWill: async (): Promise<void> => {},
    delWill: async (): Promise<void> => {},
    streamWill: (): Readable => Readable.from([]),
  }
}

export type Memory = ReturnType<typeof createMemory>
