/**
 * What the embedded broker remembers: persistent sessions with their queues, retained messages, QoS 2 ids. In memory, bounded in every
 * direction, gone with the process: docs/decisions/0021 says what its acknowledgements are worth. Shaped as aedes calls a persistence.
 *
 * Not aedes' own memory store: that one has no bounds, finds a queued message by walking the queue, takes the wrong one out of it when a
 * delivery is dropped, and sends again without DUP.
 */

import { Readable } from 'node:stream'
import { createRetained, type RetainedLimits } from './retained.ts'
import { createSessions, type ClientRef, type SessionLimits, type SessionOptions } from './sessions.ts'

export type MemoryLimits = SessionLimits & RetainedLimits

export const createMemory = (
  o: Omit<SessionOptions, 'limits' | 'dropped' | 'expired'> & {
    readonly limits: MemoryLimits
    /** A message was not kept, or not any longer; `clientId`: whose session it was to be in. */
    readonly dropped: (what: 'queue' | 'evicted' | 'retained', clientId?: string) => void
    readonly expired: (clientId: string) => void
  },
) => {
  const incoming = new Map<string, Set<number>>()
  const sessions = createSessions({
    ...o,
    expired: (id) => {
      incoming.delete(id)
      o.expired(id)
    },
  })

  return {
    ...sessions,
    ...createRetained(o.limits, () => o.dropped('retained')),

    // aedes insists on an async function by its constructor's name
    setup: async (): Promise<void> => {},

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
