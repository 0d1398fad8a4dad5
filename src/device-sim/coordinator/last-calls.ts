/**
 * How long the operator API is waited for once a run was interrupted: what was made and done for the run is taken back, and that must not
 * outlast the patience of whoever said Ctrl-C. Without an interruption each call has its own time.
 */

import { SECOND } from '#fleet/clock.ts'
import { onAbort } from '../on-abort.ts'

/** ms for all of them together */
const LAST_CALLS = 2 * SECOND

export type LastCalls = Disposable & {
  /** of every call */
  readonly signal: AbortSignal
  /** the time does not run as long as this goes on */
  during<T>(work: Promise<T>): Promise<T>
}

export const createLastCalls = (interrupted: AbortSignal): LastCalls => {
  const over = new AbortController()
  let under = 0
  let timer: NodeJS.Timeout | undefined
  const begin = (): void => {
    if (!interrupted.aborted || under > 0) return
    timer ??= setTimeout(() => over.abort(), LAST_CALLS)
  }
  const unheard = onAbort(interrupted, begin)
  begin()
  return {
    signal: over.signal,
    async during(work) {
      under++
      try {
        return await work
      } finally {
        under--
        begin()
      }
    },
    [Symbol.dispose]() {
      unheard()
      clearTimeout(timer)
    },
  }
}
