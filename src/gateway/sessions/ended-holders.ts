/**
 * Whose sessions have ended by a logout, until the registry has it from the enroll desk: by name, up to when they were begun. Bounded. Not what the
 * registry says: revoked.ts.
 */

/** `holder`: a device id, or `<anchor>/<name>`. `at`, ms: its sessions that were begun by then are over. */
export type EndedHolder = { readonly holder: string; readonly at: number }

/** The oldest goes first: the registry has had the most time for it. */
const MAX_ENDED = 10_000

export type EndedHolders = {
  add(ended: EndedHolder): void
  /** ms; -Infinity: nobody of that name */
  upTo(holder: string): number
  all(): readonly EndedHolder[]
}

export const createEndedHolders = (): EndedHolders => {
  const ended = new Map<string, number>()
  const upTo = (holder: string): number => ended.get(holder) ?? -Infinity
  return {
    add: ({ holder, at }) => {
      const latest = Math.max(upTo(holder), at)
      ended.delete(holder)
      if (ended.size >= MAX_ENDED) ended.delete(ended.keys().next().value as string)
      ended.set(holder, latest)
    },
    upTo,
    all: () => [...ended].map(([holder, at]) => ({ holder, at })),
  }
}
