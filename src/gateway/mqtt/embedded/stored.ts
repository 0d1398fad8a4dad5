/**
 * What the embedded broker keeps, piece by piece: the shape that each has in memory, its size, and its row in the file. Not the bounds, and
 * not when it is written: ./sessions.ts, ./retained.ts, ./journal.ts.
 */

import type { Kind, Row } from './journal.ts'

/** What was published, once, for however many it waits. `number` rises with each publication. */
export type Message = Row & {
  readonly number: number
  readonly topic: string
  readonly payload: Buffer
  /** queues that it is in */
  refs: number
}

/** A message in the queue of a session. */
export type Queued = Row & {
  readonly session: number
  readonly message: Message
  readonly qos: number
  readonly packetId: number
  readonly retain: boolean
  /** on this connection or one before: it is sent again with DUP */
  sent: boolean
  /** PUBREC has come: from here on only PUBREL is said */
  released: boolean
  /** what is on the disk before it may be sent: at QoS 2 nothing is said that a crash could unsay */
  batch: number
}

export type Subscription = Row & { readonly session: number; readonly filter: string; qos: number }

/** A QoS 2 message of this client has come, its PUBREL not yet. `batch`: holds it, and the message in the queues. */
export type Incoming = Row & { readonly session: number; readonly packetId: number; batch: number }

export type Retained = Row & {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: number
  /** who published it; '' nobody */
  readonly owner: string
}

/** The row of a session; all else of it is in ./sessions.ts. */
export type SessionRow = Row & {
  readonly number: number
  readonly id: string
  /** undefined: its client is connected */
  awaySince: number | undefined
  sentUpTo: number
}

const flag = (value: boolean): number => (value ? 1 : 0)

export const SESSION: Kind<SessionRow> = {
  put: 'putSession',
  drop: 'endSession',
  cells: ({ number, id, awaySince, sentUpTo }) => [number, id, awaySince ?? null, sentUpTo],
  key: ({ number }) => [number],
}
export const SUBSCRIPTION: Kind<Subscription> = {
  put: 'putSubscription',
  drop: 'dropSubscription',
  cells: ({ session, filter, qos }) => [session, filter, qos],
  key: ({ session, filter }) => [session, filter],
}
export const MESSAGE: Kind<Message> = {
  put: 'putMessage',
  drop: 'dropMessage',
  cells: ({ number, topic, payload }) => [number, topic, payload.length],
  key: ({ number }) => [number],
  payload: ({ payload }) => payload,
}
export const QUEUED: Kind<Queued> = {
  put: 'putQueued',
  drop: 'dropQueued',
  cells: ({ session, message, qos, packetId, released, retain }) => [
    session,
    message.number,
    qos,
    packetId,
    flag(released),
    flag(retain),
  ],
  key: ({ session, message }) => [session, message.number],
}
export const RETAINED: Kind<Retained> = {
  put: 'putRetained',
  drop: 'dropRetained',
  cells: ({ topic, payload, qos, owner }) => [topic, payload.length, qos, owner],
  key: ({ topic }) => [topic],
  payload: ({ payload }) => payload,
}
export const INCOMING: Kind<Incoming> = {
  put: 'putIncoming',
  drop: 'dropIncoming',
  cells: ({ session, packetId }) => [session, packetId],
  key: ({ session, packetId }) => [session, packetId],
}

/** In the order of the verbs of a batch. */
export const KINDS = [SESSION, SUBSCRIPTION, MESSAGE, QUEUED, RETAINED, INCOMING] as const

/** Nothing of it is in the file. */
export const fresh = (): Row => ({ stored: false, noted: false, gone: false })
/** It was read from the file. */
export const loaded = (): Row => ({ stored: true, noted: false, gone: false })

/** What a stored message is counted for beyond its payload and topic. */
const OVERHEAD = 200

/** Bytes. */
export const sizeOf = ({
  topic,
  payload,
}: {
  readonly topic: string
  readonly payload: Uint8Array
}): number => OVERHEAD + topic.length + payload.length

/** A payload is a slice of a larger read, and so is a copy in Node's pool: keeping either would keep all of it. */
export const alone = (payload: Buffer): Buffer => {
  if (payload.buffer.byteLength === payload.length) return payload
  const own = Buffer.allocUnsafeSlow(payload.length)
  payload.copy(own)
  return own
}
