/** How often what was said, by door: bounded, for what is said comes from a server that may be anybody's. */

import type { Door } from '../events.ts'

export type TextCounts = {
  add(door: Door, said: string): void
  /** of others, by their keys */
  merge(counts: Readonly<Record<string, number>>): void
  /** `<door> <said>` → how often */
  counts(): Record<string, number>
  clear(): void
}

/** what comes beyond what is kept apart */
export const OTHERS = 'others'

/** UTF-16 units of one */
const LONGEST = 200

/** @param most different ones; what comes beyond counts as `<door> others` */
export const createTextCounts = (most: number): TextCounts => {
  const found = new Map<string, number>()
  const count = (key: string, times: number): void => {
    const before = found.get(key)
    if (before !== undefined) found.set(key, before + times)
    else if (found.size < most) found.set(key, times)
    else {
      const others = `${key.slice(0, key.indexOf(' '))} ${OTHERS}`
      found.set(others, (found.get(others) ?? 0) + times)
    }
  }
  return {
    add: (door, said) => count(`${door} ${said.slice(0, LONGEST)}`, 1),
    merge(counts) {
      for (const [key, times] of Object.entries(counts)) count(key, times)
    },
    counts: () => Object.fromEntries(found),
    clear: () => found.clear(),
  }
}
