/**
 * Which serial stands for what, of the newest certificates: one serial is signed with one content, however often it is asked for. Not
 * whether a serial is free: the registry knows that of all of them.
 */

import { FleetError } from '#fleet/errors.ts'

/** About 20 MB. */
const SERIALS_REMEMBERED = 100_000

export type Serials = {
  /** @param content a hash of all that is asked for. @returns whether it was signed before. @throws conflict: with another content */
  isKnown(serial: string, content: string): boolean
  keep(serial: string, content: string): void
  /** It was not signed after all. */
  forget(serial: string): void
}

/** @param before oldest first */
export const createSerials = (
  before: Iterable<readonly [serial: string, content: string]> = [],
  most = SERIALS_REMEMBERED,
): Serials => {
  const contents = new Map<string, string>()
  const keep = (serial: string, content: string): void => {
    contents.set(serial, content)
    if (contents.size > most) contents.delete(contents.keys().next().value as string)
  }
  for (const [serial, content] of before) keep(serial, content)
  return {
    isKnown(serial, content) {
      const known = contents.get(serial)
      if (known !== undefined && known !== content)
        throw new FleetError('conflict', 'this serial has been signed with another content')
      return known !== undefined
    },
    keep,
    forget: (serial) => void contents.delete(serial),
  }
}
