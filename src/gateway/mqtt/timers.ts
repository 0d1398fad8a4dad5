/** The clocks of one connection: how long it is waited for, how long it may be silent, how long it may live. Not what happens then. */

import { SECOND } from '#fleet/clock.ts'

/** setTimeout's largest; a longer one would fire at once. */
const LONGEST = 2 ** 31 - 1

export type Timers = {
  /** for whatever comes next; the one before is forgotten */
  wait(ms: number, late: () => void): void
  arrived(): void
  /** @param seconds of the CONNECT; 0: none. @param excused is it our doing that nothing is heard? */
  keepAlive(seconds: number, excused: () => boolean, silent: () => void): void
  /** a whole packet has come */
  heard(): void
  /** the one before is forgotten */
  live(ms: number, outlived: () => void): void
  stop(): void
}

export const createTimers = (): Timers => {
  let waiting: NodeJS.Timeout | undefined
  let silence: NodeJS.Timeout | undefined
  let life: NodeJS.Timeout | undefined
  return {
    wait: (ms, late) => {
      clearTimeout(waiting)
      waiting = setTimeout(late, ms)
    },
    arrived: () => clearTimeout(waiting),
    keepAlive: (seconds, excused, silent) => {
      if (seconds === 0) return
      // one and a half times [MQTT-3.1.2-24]
      const timer = setTimeout(
        () => {
          if (excused()) timer.refresh()
          else silent()
        },
        seconds * 1.5 * SECOND,
      )
      silence = timer
    },
    heard: () => void silence?.refresh(),
    live: (ms, outlived) => {
      clearTimeout(life)
      life = setTimeout(outlived, Math.min(Math.max(ms, 0), LONGEST))
    },
    stop: () => {
      clearTimeout(waiting)
      clearTimeout(silence)
      clearTimeout(life)
    },
  }
}

/** ms until which a connection may live, whatever its certificates say: not all of them at once. @param random from 0 to 1 */
export const lifeEnds = (o: {
  readonly longest: number
  readonly now: number
  readonly random: number
}): number => o.now + o.longest * (0.9 + 0.2 * o.random)
