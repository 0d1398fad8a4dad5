/**
 * A service token that a request comes with, judged: client id and secret in a field each. Not what it may do: #policy/admission.ts. Never
 * logged, and taken off on the way to the origin.
 */

import { hash, timingSafeEqual } from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import type { ServiceToken } from '#fleet/credentials.ts'
import type { ServiceTokenFacts } from '#policy/admission.ts'
import type { RegistryReader } from '#registry/registry.ts'
import { fieldsOf } from './cookies.ts'

const CLIENT_ID = 'cf-access-client-id'
const CLIENT_SECRET = 'cf-access-client-secret'

/** Octets; a client id has 39, a secret 48. */
const MAX_FIELD = 256

const ABSENT: ServiceTokenFacts = { kind: 'absent' }
const REFUSED: ServiceTokenFacts = { kind: 'refused' }

/** Nobody's: the same work for a client id that nobody has. */
const NO_HASH = '0'.repeat(64)

const isSame = (a: string, b: string): boolean =>
  timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))

/**
 * Both secrets are compared whatever the first comparison says, and before anything else is looked at.
 * @returns ms: until when it is good; undefined: it is not
 */
const goodUntil = (token: ServiceToken | undefined, secret: string): number | undefined => {
  const given = hash('sha256', secret, 'hex')
  const { previous } = token ?? {}
  const isCurrent = isSame(given, token?.hash ?? NO_HASH)
  const isPrevious = isSame(given, previous?.hash ?? NO_HASH)
  if (token === undefined || token.revokedAt !== undefined) return undefined
  const end = token.expiresAt ?? Infinity
  if (isCurrent) return end
  return isPrevious && previous !== undefined ? Math.min(end, previous.until) : undefined
}

/** @returns a function that never throws: where the registry cannot be read nobody has authenticated */
export const createServiceTokenCheck =
  (o: {
    readonly registry: Pick<RegistryReader, 'serviceToken'>
    readonly clock: Clock
  }): ((rawHeaders: readonly string[]) => ServiceTokenFacts) =>
  (rawHeaders) => {
    const ids = fieldsOf(rawHeaders, CLIENT_ID)
    const secrets = fieldsOf(rawHeaders, CLIENT_SECRET)
    if (ids.length === 0 && secrets.length === 0) return ABSENT
    const [clientId] = ids
    const [secret] = secrets
    if (ids.length !== 1 || secrets.length !== 1 || clientId === undefined || secret === undefined)
      return REFUSED
    if (clientId.length > MAX_FIELD || secret.length > MAX_FIELD) return REFUSED
    try {
      const token = o.registry.serviceToken(clientId)
      const until = goodUntil(token, secret)
      if (token === undefined || until === undefined || until <= o.clock()) return REFUSED
      return { kind: 'good', id: token.id, name: token.name, expiresAt: until }
    } catch {
      return REFUSED
    }
  }
