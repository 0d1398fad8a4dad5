/**
 * Remembers which assertions were used, until they end: each is for one request. In this process only; several that share an application
 * must share this too, in a store that can add a key once. Not the check of an assertion: verify.ts.
 */

/** A few MB. At the default life of 30 s that is 3,000 requests a second; only assertions that are good take a place. */
const MOST = 100_000

export type ReplayMemory = {
  /** @param until ms @param now ms @returns `full`: it cannot be remembered, so it must not be served */
  use(id: string, until: number, now: number): 'first' | 'again' | 'full'
}

export const createReplayMemory = (most = MOST): ReplayMemory => {
  /** in the order of use, which is nearly that of their ends */
  const used = new Map<string, number>()
  const forget = (now: number, all: boolean): void => {
    for (const [id, until] of used)
      if (until <= now) used.delete(id)
      else if (!all) return
  }
  return {
    use: (id, until, now) => {
      if (used.has(id)) return 'again'
      forget(now, used.size >= most)
      if (used.size >= most) return 'full'
      used.set(id, until)
      return 'first'
    },
  }
}
