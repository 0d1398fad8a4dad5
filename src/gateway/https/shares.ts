/**
 * How many requests one identity may have under way: admitted ones are never pushed out, so nobody may fill the door with them. Whoever can
 * have as many names as he likes is counted with all of those names together, too. Not who is connected: ../crowd.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import type { Identity } from '#policy/decision.ts'
import { Leaving } from '../leaving.ts'

/** One in so many of all connections, and never fewer than {@link LEAST}: a small door still serves a browser's worth. */
const PART = 16
const GROUP_PART = 2
const LEAST = 8

export type Shares = {
  /**
   * @param group of {@link groupOf}
   * @returns undefined when the name, or its group, has its share already; else dispose of it when the request is over
   */
  take(name: string, group: string | undefined): Disposable | undefined
}

/** Those whom a bypass let in have an address for a name, and a foreign CA gives names at will. undefined: the enroll desk has given it. */
export const groupOf = (identity: Identity): string | undefined => {
  if (identity.kind === 'none') return ''
  return identity.kind === 'foreign' ? identity.anchor : undefined
}

/** What the client is told when {@link Shares.take} gives nothing. */
export const shareIsTaken = (): FleetError =>
  new FleetError('rate_limited', 'this identity has too many requests under way')

type Share = { take(name: string): Disposable | undefined }

const createShare = (connections: number, part: number): Share => {
  const most = Math.max(LEAST, Math.floor(connections / part))
  const held = new Map<string, number>()
  const leave = (name: string): void => {
    const left = (held.get(name) ?? 1) - 1
    if (left === 0) held.delete(name)
    else held.set(name, left)
  }
  return {
    take: (name) => {
      const now = held.get(name) ?? 0
      if (now >= most) return undefined
      held.set(name, now + 1)
      return new Leaving(leave, name)
    },
  }
}

export const createShares = (connections: number): Shares => {
  const names = createShare(connections, PART)
  const groups = createShare(connections, GROUP_PART)
  return {
    take: (name, group) => {
      const ofName = names.take(name)
      if (group === undefined || ofName === undefined) return ofName
      using both = new DisposableStack()
      both.use(ofName)
      const ofGroup = groups.take(group)
      if (ofGroup === undefined) return undefined
      both.use(ofGroup)
      return both.move()
    },
  }
}
