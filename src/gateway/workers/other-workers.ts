/**
 * The other workers as one of them sees them, through the gateway: a logout here is told there, and its answer waits until they know. Not the
 * gateway's end: worker-process.ts.
 */

import type { EndedHolder } from '../sessions/ended-holders.ts'
import type { Kind, Order, Word } from './messages.ts'
import { TIMES } from './times.ts'

export type OtherWorkers = {
  /** Resolves when all of them know, or when that takes too long; never rejects. */
  tell(ended: EndedHolder): Promise<void>
  /** An order `known` has come. */
  known(order: Kind<Order, 'known'>): void
  /** The gateway has closed the channel, or is no more: no answer will come. */
  gone(): void
}

/** @param say returns false when nobody is there to hear it */
export const createOtherWorkers = (
  say: (word: Kind<Word, 'logout'>) => boolean,
  within = TIMES.known,
): OtherWorkers => {
  const waiting = new Map<number, () => void>()
  let count = 0
  return {
    tell: async (ended) => {
      const nth = (count += 1)
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, within)
      waiting.set(nth, resolve)
      if (!say({ kind: 'logout', nth, ...ended })) resolve()
      await promise
      clearTimeout(timer)
      waiting.delete(nth)
    },
    known: ({ nth }) => {
      waiting.get(nth)?.()
    },
    gone: () => {
      for (const resolve of waiting.values()) resolve()
    },
  }
}
