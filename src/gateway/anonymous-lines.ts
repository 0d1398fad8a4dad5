/**
 * How many log lines clients may cause of whom nobody knows who they are: so many a minute, and then one that says how many more there were.
 * For both doors together. Not the counting: metrics have them all.
 */

import { MINUTE } from '#fleet/clock.ts'
import type { Log } from '#runtime/log.ts'

const PER_MINUTE = 600

export type AnonymousLines = Disposable & {
  /** Ask before each such line; false: leave it out. */
  take(): boolean
}

/** @param rest what the line says that is about those without one */
export const createAnonymousLines = (log: Log, rest: string, perMinute = PER_MINUTE): AnonymousLines => {
  let taken = 0
  let timer: NodeJS.Timeout | undefined
  const turn = (): void => {
    clearTimeout(timer)
    timer = undefined
    const more = taken - perMinute
    taken = 0
    if (more > 0) log.info({ left_out: more }, rest)
  }
  return {
    take: () => {
      timer ??= setTimeout(turn, MINUTE).unref()
      taken += 1
      return taken <= perMinute
    },
    [Symbol.dispose]: turn,
  }
}
