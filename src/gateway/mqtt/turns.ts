/**
 * How much of what one client sends is dealt with in one turn of the event loop. Everybody is served by one thread: a client whose packets
 * come faster waits for its next turn, while others have theirs. Not a rate: when nobody else wants anything, the next turn is at once.
 */

/** Packets, and filters in them, about a millisecond's worth. A client that behaves sends less in a turn, and is never held. */
const SHARE = 128

let turn = 0
let ticking = false

const tick = (): void => {
  ticking = false
  turn++
}

/** The number of this turn. Asked for in one turn it is the same, and in one that began by setImmediate after it another. */
export const thisTurn = (): number => {
  if (!ticking) {
    ticking = true
    setImmediate(tick)
  }
  return turn
}

/** Of one client. */
export class Share {
  readonly #size: number
  #of = -1
  #used = 0

  constructor(size = SHARE) {
    this.#size = size
  }

  spend(units: number): void {
    this.#renew()
    this.#used += units
  }

  /** As if enough had been spent: the packet at hand is the last one of this turn. */
  exhaust(): void {
    this.#renew()
    this.#used = this.#size
  }

  /** enough for this turn */
  get spent(): boolean {
    return this.#used >= this.#size && this.#of === turn
  }

  #renew(): void {
    const now = thisTurn()
    if (now === this.#of) return
    this.#of = now
    this.#used = 0
  }
}

export const createShare = (size?: number): Share => new Share(size)
