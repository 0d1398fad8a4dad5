/**
 * Packets and bytes per second of one connection: two buckets with a second's worth of tokens. Nothing is refused here: who is over it is read from
 * later. Not ./turns.ts, by which clients share the thread however fast they may be.
 */

import { SECOND, type Clock } from '#fleet/clock.ts'
import { thisTurn } from './turns.ts'

/** ms; a wait is never shorter, so that a client over its rate costs a timer for many packets and not for each */
const SHORTEST_WAIT = 20
/** s; nobody owes more, or the broker would take a client that waits for gone */
const LONGEST_WAIT = 2

export class PacketRates {
  readonly #packetRate: number
  readonly #byteRate: number
  readonly #clock: Clock
  #packets: number
  #bytes: number
  #filledAt: number
  #turn = -1

  constructor(
    limits: { readonly packets_per_second: number; readonly bytes_per_second: number },
    clock: Clock,
  ) {
    this.#packetRate = this.#packets = limits.packets_per_second
    this.#byteRate = this.#bytes = limits.bytes_per_second
    this.#clock = clock
    this.#filledAt = clock()
  }

  /** A packet has been read. The clock is asked once in a turn of the event loop. @returns ms to wait before the next one, 0: none; two seconds at most */
  spend(bytes: number): number {
    const turn = thisTurn()
    if (turn !== this.#turn) {
      this.#turn = turn
      this.#fill()
    }
    this.#packets = Math.max(this.#packets - 1, -LONGEST_WAIT * this.#packetRate)
    this.#bytes = Math.max(this.#bytes - bytes, -LONGEST_WAIT * this.#byteRate)
    if (this.#packets >= 0 && this.#bytes >= 0) return 0
    const owed = Math.max(-this.#packets / this.#packetRate, -this.#bytes / this.#byteRate)
    return Math.max(SHORTEST_WAIT, Math.ceil(owed * SECOND))
  }

  #fill(): void {
    const now = this.#clock()
    // a clock that was set back gives nothing
    const seconds = Math.max(0, now - this.#filledAt) / SECOND
    this.#filledAt = now
    this.#packets = Math.min(this.#packetRate, this.#packets + seconds * this.#packetRate)
    this.#bytes = Math.min(this.#byteRate, this.#bytes + seconds * this.#byteRate)
  }
}
