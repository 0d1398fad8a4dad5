/**
 * Session tokens that were read once: a signature is worth 100 µs, and a device comes with the same token all day. Remembered by their
 * SHA-256 until they end or the keys change, so many at most. Whether one counts is asked anew each time: sessions.ts.
 */

import { hash } from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import type { KeyRing, RingKey } from '../key-ring.ts'
import { MAX_TOKEN, readSession, type SessionToken } from './session-token.ts'

const MAX_REMEMBERED = 10_000

/**
 * @param o.read for tests
 * @returns what the token says, also when it is past its end; undefined: not ours
 */
export const createVerifiedTokens = (o: {
  readonly keys: Pick<KeyRing, 'keys'>
  readonly clock: Clock
  readonly most?: number
  readonly read?: typeof readSession
}): ((token: string) => SessionToken | undefined) => {
  const { most = MAX_REMEMBERED, read = readSession } = o
  const known = new Map<string, SessionToken>()
  let readWith: readonly RingKey[] | undefined

  return (token) => {
    if (token.length > MAX_TOKEN) return undefined
    const keys = o.keys.keys()
    if (keys !== readWith) known.clear()
    readWith = keys
    const digest = hash('sha256', token, 'hex')
    const before = known.get(digest)
    if (before !== undefined) {
      if (before.expiresAt <= o.clock()) known.delete(digest)
      return before
    }
    const session = read(keys, token)
    if (session === undefined || session.expiresAt <= o.clock()) return session
    // the oldest goes first: whoever makes many tokens costs the others one signature each
    if (known.size >= most) known.delete(known.keys().next().value as string)
    known.set(digest, session)
    return session
  }
}
