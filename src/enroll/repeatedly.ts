/** Housekeeping that is done now and again until the desk stops. Not for what must be done in time: nobody waits for it. */

import { setTimeout as pause } from 'node:timers/promises'

/** @param work catches for itself. @param every ms from its end to its next beginning. Disposing waits for the one under way. */
export const repeatedly = (work: () => Promise<void>, every: number): AsyncDisposable => {
  const stop = new AbortController()
  const go = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await work()
      // the abort is the only way this rejects, and it is not an error
      await pause(every, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  }
  const going = go()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await going
    },
  }
}
