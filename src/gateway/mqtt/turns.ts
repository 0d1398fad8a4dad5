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
const thisTurn = (): number => {
  if (!ticking) {
    ticking = true
    setImmediate(tick)
  }
  return turn
}

export type Share = {
  spend(units: number): void
  /** enough for this turn */
  readonly spent: boolean
}

export const createShare = (size = SHARE): Share => {
  let of = -1
  let used = 0
  return {
    spend: (units) => {
      const now = thisTurn()
      if (now !== of) {
        of = now
        used = 0
      }
      used += units
    },
    get spent() {
      return used >= size && of === turn
    },
  }
}
