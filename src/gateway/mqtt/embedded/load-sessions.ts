/** The embedded broker's sessions as they were when the process before ended, read from the file once, at start. Not whether the file is sound. */

import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { StoredBroker } from '#registry/broker-store.ts'
import type { Journal } from './journal.ts'
import { MAX_QUEUED_ID, type Session } from './session.ts'
import { loaded, MESSAGE, SESSION, type Message, type Queued, type SessionRow } from './stored.ts'

const lost = (what: string): never => {
  throw new FleetError(
    'config_invalid',
    `mqtt.store: damaged: ${what}; put a backup in its place, or move it away`,
  )
}

/**
 * @param o.add puts a session in its place
 * @param o.put puts a message into a queue
 * @param o.activate messages are queued for this filter from now on
 * @returns the highest number that a message has, or had
 * @throws FleetError `config_invalid`: rows that belong to nothing
 */
export const loadSessions = (
  stored: StoredBroker,
  o: {
    readonly clock: Clock
    readonly journal: Journal
    readonly add: (row: SessionRow) => Session
    readonly put: (session: Session, queued: Queued) => void
    readonly activate: (session: Session, filter: string) => void
  },
): number => {
  const now = o.clock()
  const sessions = new Map<number, Session>()
  /** their clients were connected when the process ended: the day that they may be away begins now */
  const crashed = new Set<number>()
  let highest = 0
  for (const { number, clientId, awaySince, sentUpTo } of stored.sessions) {
    // also of a message that is gone: the number of another, and it would be taken for one that was sent
    highest = Math.max(highest, sentUpTo)
    if (awaySince === null) crashed.add(number)
    sessions.set(number, o.add({ ...loaded(), number, id: clientId, awaySince: awaySince ?? now, sentUpTo }))
  }
  const owner = (number: number): Session => sessions.get(number) ?? lost('a row of no session')

  for (const { session: number, filter, qos } of stored.subscriptions) {
    const session = owner(number)
    session.subscriptions.set(filter, { ...loaded(), session: number, filter, qos })
    o.activate(session, filter)
  }

  const messages = new Map<number, Message>()
  for (const { number, topic, payload } of stored.messages) {
    messages.set(number, { ...loaded(), number, topic, payload, refs: 0 })
    highest = Math.max(highest, number)
  }
  for (const { session: number, number: of, qos, packetId, released, retain } of stored.queued) {
    const session = owner(number)
    o.put(session, {
      ...loaded(),
      session: number,
      message: messages.get(of) ?? lost('a queue without its message'),
      qos,
      packetId,
      retain: retain === 1,
      // of one that was connected it is not known
      sent: crashed.has(number) || of <= session.sentUpTo,
      released: released === 1,
      batch: 0,
    })
    session.nextId = packetId >= MAX_QUEUED_ID ? 1 : packetId + 1
  }
  for (const message of messages.values())
    if (message.refs === 0) {
      message.gone = true
      o.journal.note(MESSAGE, message)
    }

  for (const { session: number, packetId } of stored.incoming)
    owner(number).incoming.set(packetId, { ...loaded(), session: number, packetId, batch: 0 })
  for (const number of crashed) o.journal.note(SESSION, owner(number))
  return highest
}
