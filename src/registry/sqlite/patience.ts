/**
 * Waiting for a lock without blocking the event loop: SQLite's own busy timeout sleeps the whole process, so it is 0 and timers wait.
 * Not the queue of writes: that is group-commit.ts.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { asFleetError, isLocked } from './failures.ts'

/** How long a verb waits for a lock in total, ms. Promised in registry.ts. */
export const LOCK_PATIENCE = 800

const FIRST_PAUSE = 2
const LONGEST_PAUSE = 50

/** @returns ms to wait before attempt `attempt` (1, 2, …) */
export const pauseBefore = (attempt: number): number =>
  Math.min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)

/**
 * Tries `act` now, and again while the database is locked.
 * @throws FleetError: `registry_unavailable` when it is still locked after `patience` ms, or broken
 */
export const patiently = async <T>(act: () => T, patience = LOCK_PATIENCE): Promise<T> => {
  const giveUpAt = performance.now() + patience
  for (let attempt = 1; ; attempt += 1) {
    try {
      return act()
    } catch (error) {
      const wait = pauseBefore(attempt)
      if (!isLocked(error) || performance.now() + wait > giveUpAt) throw asFleetError(error)
      await pause(wait)
    }
  }
}
