/**
 * Logouts on their way to one worker: one message under way at a time, and what comes meanwhile together in the next, so that one that hangs
 * piles nothing up. Not whom it is told: supervisor.ts.
 */

import { createEndedHolders, type EndedHolder, type EndedHolders } from '../sessions/ended-holders.ts'

type Next = { readonly ended: EndedHolders; readonly told: Promise<void> }

/**
 * @param send resolves when the worker has heard it, or nobody waits for it any longer; never rejects
 * @returns resolves when `send` has, of a message with all of these
 */
export const createNews = (
  send: (ended: readonly EndedHolder[]) => Promise<void>,
): ((ended: readonly EndedHolder[]) => Promise<void>) => {
  let underWay: Promise<void> | undefined
  let next: Next | undefined

  const start = (ended: readonly EndedHolder[]): Promise<void> => {
    underWay = send(ended).finally(() => {
      underWay = undefined
    })
    return underWay
  }
  const following = (before: Promise<void>): Next => {
    const ended = createEndedHolders()
    const told = before.then(() => {
      next = undefined
      return start(ended.all())
    })
    return { ended, told }
  }

  return (ended) => {
    if (next === undefined) {
      if (underWay === undefined) return start(ended)
      next = following(underWay)
    }
    for (const each of ended) next.ended.add(each)
    return next.told
  }
}
