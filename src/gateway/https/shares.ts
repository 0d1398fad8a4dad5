/**
 * How many requests one identity may have under way: admitted ones are never pushed out, so nobody may fill the door with them. Not who is
 * connected without being admitted: ../crowd.ts.
 */

/** One in so many of all connections, and never fewer than {@link LEAST}: a small door still serves a browser's worth. */
const PART = 16
const LEAST = 8

export type Shares = {
  /** @returns undefined when this identity has its share already; else dispose of it when the request is over */
  take(identity: string): Disposable | undefined
}

const shareOf = (connections: number): number => Math.max(LEAST, Math.floor(connections / PART))

export const createShares = (connections: number): Shares => {
  const most = shareOf(connections)
  const held = new Map<string, number>()
  return {
    take: (identity) => {
      const now = held.get(identity) ?? 0
      if (now >= most) return undefined
      held.set(identity, now + 1)
      return {
        [Symbol.dispose]: () => {
          const left = (held.get(identity) ?? 1) - 1
          if (left === 0) held.delete(identity)
          else held.set(identity, left)
        },
      }
    },
  }
}
