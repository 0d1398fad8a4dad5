/** Waiting for a moment, however far off: a timer alone takes 24 days at most. */

import type { Clock } from '#fleet/clock.ts'
import { pause } from '../waiting.ts'

/** setTimeout takes no more at once */
const LONGEST = 2 ** 31 - 1

/** Until `at` by the clock, or one of the signals. Never rejects. */
export const until = async (at: number, clock: Clock, ...signals: readonly AbortSignal[]): Promise<void> => {
  for (let left = at - clock(); left > 0 && !signals.some(({ aborted }) => aborted); left = at - clock())
    await pause(Math.min(LONGEST, Math.max(1, left)), ...signals)
}
