/**
 * Calls at whole seconds of a clock: of the epoch, and of the start once that is known. So all processes of a machine look at the same moments,
 * and a delay of less than half a second moves nothing into another second. Not what is done then.
 */

import { SECOND, type Clock } from '#fleet/clock.ts'

export type Seconds = Disposable & {
  /** From here on seconds count from it, and it is one itself. @param at ms since the epoch */
  startAt(at: number): void
}

/** @param tick is given the end of the second, ms since the epoch; growing */
export const everySecond = (clock: Clock, tick: (at: number) => void): Seconds => {
  let zero = 0
  let next = (Math.floor(clock() / SECOND) + 1) * SECOND
  let told = -Infinity
  let timer: NodeJS.Timeout

  const tell = (at: number): void => {
    told = at
    tick(at)
  }
  const arm = (): void => {
    clearTimeout(timer)
    timer = setTimeout(ring, Math.max(0, Math.ceil(next - clock())))
  }
  const ring = (): void => {
    const nearest = zero + Math.round((clock() - zero) / SECOND) * SECOND
    const at = Math.max(next, nearest)
    next = at + SECOND
    arm()
    tell(at)
  }
  arm()
  return {
    startAt(at) {
      zero = at
      if (told >= at) next = at + (Math.floor((told - at) / SECOND) + 1) * SECOND
      else next = at
      arm()
    },
    [Symbol.dispose]: () => clearTimeout(timer),
  }
}
