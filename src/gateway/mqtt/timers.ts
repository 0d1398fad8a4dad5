/**
 * The clocks of all connections, in one: each has a moment at which it must be looked at, and one timer of the process waits for the earliest.
 * What is looked at then, and whether it was too early, the connection knows; so a packet that puts an end off costs nothing here.
 * Not the moments themselves.
 */

/** setTimeout's largest; a longer one would fire at once. */
const LONGEST = 2 ** 31 - 1

/** Moments: ms of {@link Timers.now}, which no change of the date moves. */
export type Timed = {
  /** kept by {@link Timers}: when it is looked at next, and where it stands in the queue (-1: nowhere) */
  due: number
  place: number
  /** @returns when again; Infinity: not by itself */
  ring(now: number): number
}

export type Timers = Disposable & {
  now(): number
  /** Look at it then, if that is earlier than what was said before. */
  by(timed: Timed, at: number): void
  /** never again */
  drop(timed: Timed): void
}

/** A binary heap, the earliest first. Every entry knows its place, so that it can be moved and taken out. */
class Queue {
  readonly #heap: Timed[] = []

  get first(): Timed | undefined {
    return this.#heap[0]
  }

  put(timed: Timed): void {
    if (timed.place === -1) timed.place = this.#heap.push(timed) - 1
    this.#up(timed)
    this.#down(timed)
  }

  remove(timed: Timed): void {
    const { place } = timed
    if (place === -1) return
    timed.place = -1
    const last = this.#heap.pop() as Timed
    if (last === timed) return
    this.#set(place, last)
    this.#up(last)
    this.#down(last)
  }

  #set(place: number, timed: Timed): void {
    this.#heap[place] = timed
    timed.place = place
  }

  #up(timed: Timed): void {
    while (timed.place > 0) {
      const above = this.#heap[(timed.place - 1) >> 1] as Timed
      if (above.due <= timed.due) return
      const { place } = above
      this.#set(timed.place, above)
      this.#set(place, timed)
    }
  }

  #down(timed: Timed): void {
    for (;;) {
      const left = 2 * timed.place + 1
      const [one, other] = [this.#heap[left], this.#heap[left + 1]]
      const next = other !== undefined && one !== undefined && other.due < one.due ? other : one
      if (next === undefined || timed.due <= next.due) return
      const { place } = next
      this.#set(timed.place, next)
      this.#set(place, timed)
    }
  }
}

/** @param now ms, rising with the time that passes */
export const createTimers = (now: () => number = () => performance.now()): Timers => {
  const queue = new Queue()
  let timer: NodeJS.Timeout | undefined
  /** for when `timer` is set */
  let set = Infinity

  const wind = (): void => {
    const { due = Infinity } = queue.first ?? {}
    if (due === set) return
    clearTimeout(timer)
    set = due
    timer =
      due === Infinity
        ? undefined
        : setTimeout(strike, Math.min(Math.max(Math.ceil(due - now()), 0), LONGEST)).unref()
  }

  const strike = (): void => {
    set = Infinity
    const at = now()
    for (let timed = queue.first; timed !== undefined && timed.due <= at; timed = queue.first) {
      queue.remove(timed)
      const again = timed.ring(at)
      // it may have been put back already
      if (again < Infinity && (timed.place === -1 || again < timed.due)) put(timed, again)
    }
    wind()
  }

  const put = (timed: Timed, at: number): void => {
    timed.due = at
    queue.put(timed)
  }

  return {
    now,
    by: (timed, at) => {
      if (at === Infinity || (timed.place !== -1 && timed.due <= at)) return
      put(timed, at)
      wind()
    },
    drop: (timed) => queue.remove(timed),
    [Symbol.dispose]: () => clearTimeout(timer),
  }
}
