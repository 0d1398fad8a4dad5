/**
 * How long one connection is waited for, how long it may be silent, and how long it may live. Three moments, and one entry in the queue of
 * ./timers.ts: an idle connection has nothing else that ticks. Not what happens then.
 */

import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import type { Timed, Timers } from './timers.ts'

/** ms for a packet to arrive whole once it has begun. */
const PACKET_TIMEOUT = MINUTE
/** The date is looked at so often at least: it may be set while a machine sleeps. */
const LOOK = 10 * MINUTE

export type Late = { readonly reason: MqttReason; readonly detail: string }

/** What a connection can be late with. */
export const LATE = {
  connect: { reason: 'request_timeout', detail: 'no CONNECT in time' },
  broker: { reason: 'target_unreachable', detail: 'the broker does not answer' },
  packet: { reason: 'request_timeout', detail: 'a packet did not arrive whole' },
  silent: { reason: 'request_timeout', detail: 'silent for one and a half keep-alives' },
} as const satisfies Record<string, Late>

export type DeadlineEvents = {
  late(what: Late): void
  /** the date has come that {@link Deadlines.live} was given */
  outlived(): void
  /** is it our doing that nothing is heard? */
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
  /** ms; 0: none */
  #silence = 0
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
    this.#heardAt = this.#timers.now()
    if (seconds > 0) this.#timers.by(this, this.#heardAt + this.#silence)
  }

  /** Has a packet come within the last `ms`? */
  heardWithin(ms: number): boolean {
    return this.#timers.now() - this.#heardAt < ms
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
    this.#lateAt = this.#lifeAt = Infinity
    this.#silence = 0
  }

  ring(now: number): number {
    if (now >= this.#lateAt) this.#ringLate(now)
    if (this.#silence > 0 && now >= this.#heardAt + this.#silence) this.#ringSilent(now)
    if (now >= this.#lifeAt) this.#ringLife(now)
    const silentAt = this.#silence === 0 ? Infinity : this.#heardAt + this.#silence
    return Math.min(this.#lateAt, silentAt, this.#lifeAt)
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
    this.#heardAt = now
    if (!this.#on.held) this.#on.late(LATE.silent)
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
