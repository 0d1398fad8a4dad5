/**
 * Which serial stands for what, of the newest certificates: one serial is signed with one content, however often it is asked for. Not
 * whether a serial is free: the registry knows that of all of them.
 */

import { FleetError } from '#fleet/errors.ts'

/** About 20 MB. */
const SERIALS_REMEMBERED = 100_000

export type Serials = {
  /** @param content a hash of all that is asked for. @returns how often it was signed before. @throws conflict: with another content */
  times(serial: string, content: string): number
  /** Once more. */
  keep(serial: string, content: string): void
  /** It was not signed after all, this time. */
  takeBack(serial: string): void
}

/** @param before oldest first; one that was signed again comes again */
export const createSerials = (
  before: Iterable<readonly [serial: string, content: string]> = [],
  most = SERIALS_REMEMBERED,
): Serials => {
  const known = new Map<string, { readonly content: string; times: number }>()
  const keep = (serial: string, content: string): void => {
    const found = known.get(serial)
    if (found === undefined) known.set(serial, { content, times: 1 })
    else found.times += 1
    if (known.size > most) known.delete(known.keys().next().value as string)
  }
  for (const [serial, content] of before) keep(serial, content)
  return {
    times(serial, content) {
      const found = known.get(serial)
      if (found !== undefined && found.content !== content)
        throw new FleetError('conflict', 'this serial has been signed with another content')
      return found?.times ?? 0
    },
    keep,
    takeBack: (serial) => {
      const found = known.get(serial)
      if (found === undefined) return
      found.times -= 1
      if (found.times === 0) known.delete(serial)
    },
  }
}
