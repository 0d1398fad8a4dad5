/**
 * The queues of the embedded broker's sessions: what is not acknowledged, each message once for however many it waits. Bounded for each session and
 * for all; when all of it is full, the largest give way, and those that are away before others. Not whose they are: ./sessions.ts; and not how
 * anything is sent: ./outbox.ts.
 */

import { createBySize } from './by-size.ts'
import type { Journal } from './journal.ts'
import { MAX_QUEUED_ID, type Publication, type Session, type SessionLimits } from './session.ts'
import { alone, fresh, MESSAGE, QUEUED, sizeOf, type Message, type Queued } from './stored.ts'

/** A queue is never longer, or there would be no free id. */
const LONGEST_QUEUE = 0x7000

export type QueueOptions = {
  readonly limits: SessionLimits
  readonly journal: Journal
  /** A message was not queued, or it was and gives way to another. */
  readonly dropped: (what: 'queue' | 'evicted', clientId: string) => void
}

/** Nothing waits for anybody yet. */
export const messageOf = ({ number, topic, payload }: Publication): Message => ({
  ...fresh(),
  number,
  topic,
  payload: alone(payload),
  refs: 0,
})

export const createQueues = (o: QueueOptions) => {
  const { limits, journal } = o
  const longest = Math.min(limits.queuedPerSession, LONGEST_QUEUE)
  const bySize = { away: createBySize<Session>(), here: createBySize<Session>() }
  let queuedBytes = 0

  const sizesOf = ({ awaySince }: Session) => (awaySince === undefined ? bySize.here : bySize.away)

  const resize = (session: Session, by: number): void => {
    session.bytes += by
    queuedBytes += by
    if (session.bytes === 0) sizesOf(session).delete(session)
    else sizesOf(session).set(session, session.bytes)
  }

  /** @param since undefined: its client is here */
  const setAway = (session: Session, since: number | undefined): void => {
    sizesOf(session).delete(session)
    session.awaySince = since
    if (session.bytes > 0) sizesOf(session).set(session, session.bytes)
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

  /** The session ends: its rows go with it, and what has not been written need not be. */
  const empty = (session: Session): void => {
    resize(session, -session.bytes)
    for (const queued of session.queue.values()) {
      queued.gone = true
      queued.stored = false
      journal.note(QUEUED, queued)
      letGo(queued.message)
    }
  }

  return { setAway, put, enqueue, remove, empty }
}
