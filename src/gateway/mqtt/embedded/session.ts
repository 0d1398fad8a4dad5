/** A persistent session as the embedded broker has it in memory, and what is said to it. What is done with it: ./sessions.ts. */

import type { Incoming, Queued, SessionRow, Subscription } from './stored.ts'

/**
 * Packet ids of queued messages; those above are of messages that are sent once and kept nowhere. So an acknowledgement of one
 * never takes away the other.
 */
export const MAX_QUEUED_ID = 0x7fff

export type SessionLimits = {
  /** unacknowledged and waiting messages of one session, and their bytes */
  readonly queuedPerSession: number
  readonly queuedBytesPerSession: number
  readonly queuedBytes: number
  /** QoS 2 messages of one session whose PUBREL has not come */
  readonly incomingPerSession: number
  /** ms that a client may be away */
  readonly away: number
}

/** What a connected session is told. */
export type Reader = {
  /** one more message is in the queue, the last */
  queued(message: Queued): void
}

export type Session = SessionRow & {
  readonly subscriptions: Map<string, Subscription>
  /** by number, oldest first */
  readonly queue: Map<number, Queued>
  readonly byPacketId: Map<number, Queued>
  readonly incoming: Map<number, Incoming>
  bytes: number
  nextId: number
  /** the batch that holds the end of the last QoS 2 message that it sent */
  completedIn: number
  /** undefined: nobody reads now */
  reader: Reader | undefined
}

/** What a publication is to the store. */
export type Publication = {
  readonly number: number
  readonly topic: string
  readonly payload: Buffer
  readonly qos: number
}
