/**
 * Can one address of a broker be used? Down at the first connection that cannot be made, and when it answers neither those who ask nor a health
 * check; up again when a check says so: those are further and further apart, never all at the same moment, and stop when nobody is left to ask.
 * Not what a check does: ./probe.ts.
 */

import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Failure } from './dial.ts'

/** ms */
export type Pace = {
  /** after the first failure; twice as long after each one more */
  readonly first: number
  readonly most: number
  /** between two checks of a broker from which nothing is heard */
  readonly idle: number
  /** in which somebody who has asked is answered: else the broker is doubted, and checked */
  readonly answer: number
  /** between two checks, whatever has happened */
  readonly least: number
  /** in which no connection is tried from here after one failed for want of a port or a file */
  readonly exhausted: number
}

export const PACE: Pace = {
  first: SECOND / 4,
  most: 5 * SECOND,
  idle: 10 * SECOND,
  answer: SECOND,
  least: SECOND,
  exhausted: SECOND,
}

/** What is wrong here, and says nothing of the broker. */
const OURS: ReadonlySet<Failure> = new Set(['ports', 'files'])

/** @param failures in a row, from 1. @param random from 0 to 1. @returns ms: half as long to one and a half times as long */
export const retryAfter = (pace: Pick<Pace, 'first' | 'most'>, failures: number, random: number): number =>
  Math.min(pace.most, pace.first * 2 ** Math.min(failures - 1, 30)) * (0.5 + random)

export type Standing = Disposable & {
  /** undefined: nobody knows yet, and it may be tried */
  readonly up: boolean | undefined
  /** Somebody has asked, and it is silent: rather another one, until a check says how it is. */
  readonly doubted: boolean
  /** @param now ms */
  usable(now: number): boolean
  /** A connection could not be made. A timeout of one that answers others is no more than a suspicion. */
  failed(failure: Failure): void
  /** Somebody turns to it, and is to be answered. */
  asked(): void
  /** The broker has answered somebody. */
  heard(): void
  /** It has failed somebody, perhaps because it is dying: is it there? */
  suspect(): void
}

/** @param o.check undefined: it is well; never rejects. @param o.changed `failure` undefined: up */
export const createStanding = (o: {
  readonly pace: Pace
  readonly clock: Clock
  readonly random: () => number
  readonly check: () => Promise<Failure | undefined>
  readonly changed: (failure: Failure | undefined) => void
}): Standing => {
  const { pace, clock, random } = o
  let up: boolean | undefined
  let failures = 0
  let exhaustedUntil = 0
  let heardAt = -Infinity
  /** the first that was asked since it was heard; undefined: none */
  let askedAt: number | undefined
  let doubted = false
  let checkedAt = -Infinity
  let checking = false
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let patience: NodeJS.Timeout | undefined

  const schedule = (ms: number, run = check): void => {
    clearTimeout(timer)
    if (!stopped) timer = setTimeout(run, ms).unref()
  }
  const well = (): void => {
    failures = 0
    doubted = false
    schedule(pace.idle * (0.5 + random()), lookIdle)
    if (up === true) return
    up = true
    o.changed(undefined)
  }
  const down = (failure: Failure): void => {
    failures++
    schedule(retryAfter(pace, failures, random()))
    if (up === false) return
    up = false
    o.changed(failure)
  }
  const check = (): void => {
    if (checking || stopped) return
    checking = true
    checkedAt = clock()
    clearTimeout(timer)
    void o.check().then((failure) => {
      checking = false
      if (stopped) return
      // one that answers others is slow: a check is one of many in a storm
      if (failure === undefined || (failure === 'timeout' && heardAt >= checkedAt)) well()
      else if (OURS.has(failure)) schedule(pace.exhausted)
      else down(failure)
    })
  }
  const suspect = (): void => {
    if (up === false || checking) return
    const wait = checkedAt + pace.least - clock()
    if (wait <= 0) check()
    else schedule(wait)
  }
  const lookAnswered = (): void => {
    patience = undefined
    if (askedAt === undefined) return
    const wait = askedAt + pace.answer - clock()
    if (wait > 0) return waitForAnswer(wait)
    askedAt = undefined
    doubted = true
    suspect()
  }
  const waitForAnswer = (ms: number): void => {
    if (!stopped) patience ??= setTimeout(lookAnswered, ms).unref()
  }
  const lookIdle = (): void => {
    if (clock() - heardAt < pace.idle) schedule(pace.idle * (0.5 + random()), lookIdle)
    else check()
  }

  check()
  return {
    get up() {
      return up
    },
    get doubted() {
      return doubted
    },
    usable: (now) => up !== false && now >= exhaustedUntil,
    failed: (failure) => {
      if (OURS.has(failure)) exhaustedUntil = clock() + pace.exhausted
      else if (failure === 'timeout' && clock() - heardAt < pace.answer) suspect()
      // a check that is under way will say it too, and when to ask again
      else if (up !== false) down(failure)
    },
    asked: () => {
      askedAt ??= clock()
      waitForAnswer(pace.answer)
    },
    heard: () => {
      heardAt = clock()
      askedAt = undefined
      doubted = false
    },
    suspect,
    [Symbol.dispose]: () => {
      stopped = true
      clearTimeout(timer)
      clearTimeout(patience)
    },
  }
}
