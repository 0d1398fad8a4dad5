/**
 * Open loop: turns are due when the rate says so, whatever the answers take, and latency counts from when a turn was due. What came too late
 * by the generator's own fault is counted, and what cannot even be begun; nobody is asked less for being slow.
 */

import type { Clock } from '#fleet/clock.ts'

/** Of this process; grows while a run goes on. */
export type LoadCounts = {
  /** turns that began more than {@link LATE} ms after they were due */
  late: number
  /** turns that were due and never begun */
  dropped: number
}

export const createLoadCounts = (): LoadCounts => ({ late: 0, dropped: 0 })

/** Whose turn it may be. */
export type Taker = {
  /** false: it has not come, has gone, or is away; its turn is nobody's */
  ready(): boolean
  /** all of its turns that are due now, by when they were due; must not throw */
  take(dues: readonly number[]): void
}

/** ms */
const LATE = 10
/** turns under way in one process: what more is due is not begun */
export const MOST_UNDER_WAY = 2_000
/** turns looked at before others are let in: the sockets of those that were begun, above all */
const BATCH = 1_000

export type Arrivals = {
  /** turns a second, of these takers together */
  readonly rate: number
  readonly arrivals: 'constant' | 'poisson'
  /** in [0, 1): of the first gap; parts of one fleet do not strike at the same time */
  readonly phase: number
  random(): number
}

/** ms from one arrival to the next */
const gapsOf = ({ rate, arrivals, random }: Arrivals): (() => number) => {
  const mean = 1_000 / rate
  return arrivals === 'constant' ? () => mean : () => -Math.log(1 - random()) * mean
}

export type OpenLoop = Disposable & {
  /** The end has come: what is due by then is handed out, or counted as dropped when it is more than can be begun at once. */
  finish(): void
}

/**
 * Hands each due turn to the next taker, in their order, from `startsAt` to `endsAt`. Due times are absolute: a tick that comes late makes up
 * for it.
 */
export const openLoop = (
  o: Arrivals & {
    readonly takers: readonly Taker[]
    /** ms since the epoch */
    readonly startsAt: number
    /** nothing is due from then on; undefined: there is always more */
    readonly endsAt?: number | undefined
    readonly clock: Clock
    readonly counts: LoadCounts
    /** turns that are under way now */
    underWay(): number
  },
): OpenLoop => {
  const { takers, counts, clock, endsAt = Infinity } = o
  const gap = gapsOf(o)
  let due = o.startsAt + (1_000 / o.rate) * o.phase
  let next = 0
  let timer: NodeJS.Timeout | undefined
  let immediate: NodeJS.Immediate | undefined

  const handOut = (): void => {
    const now = clock()
    const begun = new Map<Taker, number[]>()
    let free = MOST_UNDER_WAY - o.underWay()
    for (let looked = 0; due <= now && due < endsAt && looked < BATCH; looked++) {
      const taker = takers[next] as Taker
      next = (next + 1) % takers.length
      if (taker.ready()) {
        if (free > 0) {
          free--
          if (now - due > LATE) counts.late++
          const dues = begun.get(taker)
          if (dues === undefined) begun.set(taker, [due])
          else dues.push(due)
        } else counts.dropped++
      }
      due += gap()
    }
    for (const [taker, dues] of begun) taker.take(dues)
  }
  const arm = (): void => {
    if (due >= endsAt) return
    const wait = due - clock()
    if (wait <= 0) immediate = setImmediate(tick)
    // no timer of Node's is longer than 2^31 ms; one that comes early finds nothing due
    else timer = setTimeout(tick, Math.min(wait, 1 << 30))
  }
  const tick = (): void => {
    handOut()
    arm()
  }
  if (takers.length > 0) arm()

  const stop = (): void => {
    clearTimeout(timer)
    clearImmediate(immediate)
  }
  return {
    finish() {
      stop()
      if (takers.length === 0) return
      handOut()
      // what it had no time for, about
      const behind = Math.min(clock(), endsAt) - due
      if (behind > 0) counts.dropped += Math.round((behind / 1_000) * o.rate)
      due = endsAt
    },
    [Symbol.dispose]: stop,
  }
}
