/**
 * What waits in the queue of a session, on its way to its connected client: all of it, oldest first, as fast as the client reads. Live messages
 * come this way too, so none overtakes an older one. Not the queue: ./sessions.ts.
 */

import { makeAck } from '../ack-packets.ts'
import { TYPE } from '../packets.ts'
import type { Journal } from './journal.ts'
import type { Pipe } from './pipe.ts'
import type { Frames } from './publish-frame.ts'
import type { Reader, Session } from './session.ts'
import type { Message, Queued } from './stored.ts'

/** Sent ones at the front of the list that are taken off together. */
const SLACK = 1_024

export class Outbox implements Reader {
  readonly #session: Session
  readonly #pipe: Pipe
  readonly #journal: Journal
  readonly #framesOf: (message: Message) => Frames
  #unsent: Queued[]
  #head = 0
  /** something will call {@link Outbox.#pump} */
  #waits = false
  #over = false

  /** @param framesOf of a message that goes to several: the same, if it can be had */
  constructor(session: Session, pipe: Pipe, journal: Journal, framesOf: (message: Message) => Frames) {
    this.#session = session
    this.#pipe = pipe
    this.#journal = journal
    this.#framesOf = framesOf
    this.#unsent = [...session.queue.values()]
    this.#pump()
  }

  queued(message: Queued): void {
    this.#unsent.push(message)
    if (!this.#waits) this.#pump()
  }

  /** The connection is over. What was not sent stays in the queue. */
  stop(): void {
    this.#over = true
    this.#unsent = []
  }

  #again = (): void => {
    this.#waits = false
    if (!this.#over) this.#pump()
  }

  #pump(): void {
    for (; this.#head < this.#unsent.length; this.#head++) {
      const queued = this.#unsent[this.#head] as Queued
      if (queued.gone) continue
      // once said at QoS 2, it and its packet id must not be forgotten in a crash: the client would take it for another
      if (queued.qos === 2 && !this.#journal.isDone(queued.batch)) {
        this.#waits = true
        this.#journal.after(queued.batch, this.#again)
        break
      }
      if (!this.#pipe.hasRoom) {
        this.#waits = true
        this.#pipe.whenEmpty(this.#again)
        break
      }
      this.#send(queued)
    }
    if (this.#head < Math.min(SLACK, this.#unsent.length)) return
    this.#unsent = this.#unsent.slice(this.#head)
    this.#head = 0
  }

  #send(queued: Queued): void {
    const { packetId, message, qos, retain, sent } = queued
    // from PUBREC on only PUBREL is said again
    if (queued.released) return void this.#pipe.take(makeAck(4, TYPE.pubrel, packetId))
    const [first, second] = this.#framesOf(message).frame(qos, packetId, retain, sent)
    queued.sent = true
    if (message.number > this.#session.sentUpTo) this.#session.sentUpTo = message.number
    this.#pipe.take(first)
    if (second !== undefined) this.#pipe.take(second)
  }
}
