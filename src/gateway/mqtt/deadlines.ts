/**
 * How long one connection is waited for, how long it may be silent, how long it may stand still, and how long it may live. Four moments, and one
 * entry in the queue of ./timers.ts: an idle connection has nothing else that ticks. Not what happens then.
 */

import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import type { Timed, Timers } from './timers.ts'

/** ms for a packet to arrive whole once it has begun. */
const PACKET_TIMEOUT = MINUTE
/** ms for whoever keeps a client from being read, the broker or itself, to let it go on. */
const STUCK = MINUTE
/** The date is looked at so often at least: it may be set while a machine sleeps. */
const LOOK = 10 * MINUTE

export type Late = { readonly reason: MqttReason; readonly detail: string }

/** What a connection can be late with. */
export const LATE = {
  connect: { reason: 'request_timeout', detail: 'no CONNECT in time' },
  broker: { reason: 'target_unreachable', detail: 'the broker does not answer' },
  packet: { reason: 'request_timeout', detail: 'a packet did not arrive whole' },
  silent: { reason: 'request_timeout', detail: 'silent for one and a half keep-alives' },
  unread: { reason: 'request_timeout', detail: 'it does not read what it is answered' },
} as const satisfies Record<string, Late>

export type DeadlineEvents = {
  late(what: Late): void
  /** the date has come that {@link Deadlines.live} was given */
  outlived(): void
  /** it has stood still for too long */
  stuck(): void
  /** is it not the client's doing that nothing is heard? */
  readonly held: boolean
}

export class Deadlines implements Timed {
  due = Infinity
  place = -1
  readonly #timers: Timers
  readonly #clock: Clock
  readonly #on: DeadlineEvents
  #late: Late | undefined
  #lateAt = Infinity
  /** ms of the timers; a packet costs no more than writing it down */
  #heardAt = -Infinity
  /** ms of the timers: silence before it is not the client's */
  #excusedUntil = -Infinity
  /** ms; 0: none */
  #silence = 0
  /** ms of the timers; Infinity: it does not stand still */
  #heldAt = Infinity
  #lifeAt = Infinity
  /** ms since the epoch */
  #until = Infinity

  constructor(timers: Timers, clock: Clock, on: DeadlineEvents) {
    this.#timers = timers
    this.#clock = clock
    this.#on = on
  }

  /** For whatever comes next; what was waited for before is forgotten. */
  wait(ms: number, what: Late): void {
    this.#late = what
    this.#lateAt = this.#timers.now() + ms
    this.#timers.by(this, this.#lateAt)
  }

  arrived(): void {
    this.#lateAt = Infinity
  }

  /** @param whole has a packet come whole since the last time? @param rest has another one begun? */
  packets(whole: boolean, rest: boolean): void {
    if (whole) this.#heardAt = this.#timers.now()
    if (!rest) this.#lateAt = Infinity
    else if (whole || this.#lateAt === Infinity) this.wait(PACKET_TIMEOUT, LATE.packet)
  }

  /** @param seconds 0: none. One and a half times that [MQTT-3.1.2-24; MQTT 5: MQTT-3.1.2-22] */
  keepAlive(seconds: number): void {
    this.#silence = seconds * 1.5 * SECOND
    this.#excusedUntil = this.#timers.now()
    if (seconds > 0) this.#timers.by(this, this.#silentAt)
  }

  /** Has a packet come since then? @param at ms of the timers */
  heardSince(at: number): boolean {
    return this.#heardAt >= at
  }

  /** @param held true: it is not read from on. Said again, it has moved, and waits for something else. */
  standStill(held: boolean): void {
    this.#heldAt = held ? this.#timers.now() : Infinity
    if (held) this.#timers.by(this, this.#heldAt + STUCK)
  }

  /** @param until ms since the epoch; what was said before is forgotten */
  live(until: number): void {
    if (until === this.#until) return
    this.#until = until
    this.#lifeAt = this.#nextLook(this.#timers.now())
    this.#timers.by(this, this.#lifeAt)
  }

  stop(): void {
    this.#timers.drop(this)
    this.#lateAt = this.#lifeAt = this.#heldAt = Infinity
    this.#silence = 0
  }

  get #silentAt(): number {
    return this.#silence === 0 ? Infinity : Math.max(this.#heardAt, this.#excusedUntil) + this.#silence
  }

  ring(now: number): number {
    if (now >= this.#lateAt) this.#ringLate(now)
    if (now >= this.#silentAt) this.#ringSilent(now)
    if (now >= this.#heldAt + STUCK) this.#ringStuck()
    if (now >= this.#lifeAt) this.#ringLife(now)
    return Math.min(this.#lateAt, this.#silentAt, this.#heldAt + STUCK, this.#lifeAt)
  }

  #ringLate(now: number): void {
    const late = this.#late as Late
    // of a packet that nobody reads
    if (late === LATE.packet && this.#on.held) {
      this.#lateAt = now + PACKET_TIMEOUT
      return
    }
    this.#lateAt = Infinity
    this.#on.late(late)
  }

  #ringSilent(now: number): void {
    this.#excusedUntil = now
    if (!this.#on.held) this.#on.late(LATE.silent)
  }

  #ringStuck(): void {
    this.#heldAt = Infinity
    this.#on.stuck()
  }

  #ringLife(now: number): void {
    if (this.#until <= this.#clock()) this.#on.outlived()
    // not stopped: it was too early, or there is another date by now
    if (this.#lifeAt !== Infinity) this.#lifeAt = this.#nextLook(now)
  }

  #nextLook(now: number): number {
    return this.#until === Infinity
      ? Infinity
      : now + Math.min(Math.max(this.#until - this.#clock(), 1), LOOK)
  }
}

/** ms until which a connection may live, whatever its certificates say: not all of them at once. @param random from 0 to 1 */
export const lifeEnds = (o: {
  readonly longest: number
  readonly now: number
  readonly random: number
}): number => o.now + o.longest * (0.9 + 0.2 * o.random)
