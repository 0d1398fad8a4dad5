/**
 * Open loop: turns are due when the rate says so, whatever the answers take, and latency counts from when a turn was due. What came too late
 * by the generator's own fault is counted, and what cannot even be begun; nobody is asked less for being slow.
 *
 * A fleet may be divided among processes: each walks the arrivals of the whole fleet and takes its own, so that the plan is the same for any
 * number of them (3 ns an arrival, 29 ns where they are random).
 */

import type { Clock } from '#fleet/clock.ts'

/** Of this process; grows while a run goes on. Turns that have been due are absent, dropped, begun or under way. */
export type LoadCounts = {
  due: number
  /** turns of a device that has not come, has gone, or is away */
  absent: number
  /** turns that began more than {@link LATE} ms after they could have, by this process's fault */
  late: number
  /** turns that were due and never begun */
  dropped: number
}

export const createLoadCounts = (): LoadCounts => ({ due: 0, absent: 0, late: 0, dropped: 0 })

/** Whose turn it may be. */
export type Taker = {
  /** false: it has not come, has gone, or is away; its turn is nobody's */
  ready(): boolean
  /** all of its turns that are due now, by when they were due; must not throw */
  take(dues: readonly number[]): void
}

/** ms */
export const LATE = 10
/** turns under way in one process: what more is due is not begun */
export const MOST_UNDER_WAY = 2_000
/** octets of all those that are under way, about: what is written and not sent yet is in memory, and no limit of the heap sees it */
const OCTETS_UNDER_WAY = 64 * 1_048_576
/** own turns in one go, before others are let in: the sockets of those that were begun, above all */
const BATCH = 1_000
/** arrivals of the whole fleet in one go */
const WALK = 10 * BATCH

/** @param payload octets of one turn */
export const mostUnderWay = (payload: number): number =>
  Math.max(1, Math.min(MOST_UNDER_WAY, Math.floor(OCTETS_UNDER_WAY / Math.max(1, payload))))

/** Of the whole fleet. */
export type Arrivals = {
  /** turns a second */
  readonly rate: number
  readonly arrivals: 'constant' | 'poisson'
  random(): number
}

/**
 * ms from the start of the first, the second, … arrival. Small numbers, and of a constant rate each by itself: ms since the epoch have steps of a
 * quarter of a µs, and adding a gap of a few µs to them is wrong by percents.
 */
const offsetsOf = ({ rate, arrivals, random }: Arrivals): (() => number) => {
  const mean = 1_000 / rate
  let count = 0
  let sum = 0
  return arrivals === 'constant' ? () => count++ * mean : () => (sum += -Math.log(1 - random()) * mean)
}

export type OpenLoop = Disposable & {
  /**
   * The end has come, or the scenario's: what is due by then is handed out, or counted as dropped when it is more than may be under way. Once is
   * enough.
   */
  finish(): void
}

/**
 * Hands each due turn to the taker whose turn it is, in their order, from `startsAt` to `endsAt`. Due times are absolute: a tick that comes late
 * makes up for it.
 */
export const openLoop = (
  o: Arrivals & {
    /** of the whole fleet, in turn; undefined: another process has it */
    readonly takers: readonly (Taker | undefined)[]
    /** ms since the epoch */
    readonly startsAt: number
    /** nothing is due from then on; undefined: there is always more */
    readonly endsAt?: number | undefined
    /** ms at least from one look to the next, when there was time for all: turns that are due meanwhile are begun together */
    readonly tick: number
    /** turns that may be under way in this process */
    readonly most: number
    readonly clock: Clock
    readonly counts: LoadCounts
    /** turns that are under way now */
    underWay(): number
  },
): OpenLoop => {
  const { takers, counts, clock, startsAt, tick, most } = o
  const lasts = (o.endsAt ?? Infinity) - startsAt
  const offsets = offsetsOf(o)
  const hasOwn = takers.some((taker) => taker !== undefined)
  /** of the next arrival, ms after the start, and whose it is */
  let offset = offsets()
  let next = 0
  let over = !hasOwn
  let timer: NodeJS.Timeout | undefined
  let immediate: NodeJS.Immediate | undefined

  const step = (): void => {
    offset = offsets()
    next = next + 1 === takers.length ? 0 : next + 1
  }
  /** @returns whether that was all that is due until now */
  const handOut = (batch: number, walk: number): boolean => {
    const now = clock()
    const until = Math.min(now - startsAt, lasts)
    const isDue = (): boolean => offset < lasts && offset <= until
    const begun = new Map<Taker, number[]>()
    let free = most - o.underWay()
    let own = 0
    for (let walked = 0; isDue() && own < batch && walked < walk; walked++) {
      const taker = takers[next]
      if (taker !== undefined) {
        own++
        counts.due++
        if (!taker.ready()) counts.absent++
        else if (free <= 0) counts.dropped++
        else {
          free--
          const due = startsAt + offset
          if (now - due > LATE) counts.late++
          const dues = begun.get(taker)
          if (dues === undefined) begun.set(taker, [due])
          else dues.push(due)
        }
      }
      step()
    }
    for (const [taker, dues] of begun) taker.take(dues)
    return !isDue()
  }
  /** The next look is for a turn of this process's. */
  const seek = (): void => {
    for (let walked = 0; takers[next] === undefined && offset < lasts && walked < WALK; walked++) step()
  }
  const arm = (all: boolean): void => {
    seek()
    if (offset >= lasts) return
    const wait = Math.max(startsAt + offset - clock(), all ? tick : 0)
    if (wait <= 0) immediate = setImmediate(look)
    // no timer of Node's is longer than 2^31 ms; one that comes early finds nothing due
    else timer = setTimeout(look, Math.min(wait, 1 << 30))
  }
  const look = (): void => arm(handOut(BATCH, WALK))
  if (!over) arm(false)

  const stop = (): void => {
    over = true
    clearTimeout(timer)
    clearImmediate(immediate)
  }
  return {
    finish() {
      if (over) return
      stop()
      handOut(Infinity, Infinity)
    },
    [Symbol.dispose]: stop,
  }
}
