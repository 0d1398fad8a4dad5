/** Two clocks: the machine's, finer than a millisecond and never set back while a process lives, and a device's own, which may be wrong. */

import type { Clock } from '#fleet/clock.ts'

/** ms since the epoch, with a fraction: the same in every process of one machine to well below a millisecond. */
export const now: Clock = () => performance.timeOrigin + performance.now()

/** A clock that is wrong by `offset` ms. */
export const offBy =
  (offset: number, clock: Clock): Clock =>
  () =>
    clock() + offset
