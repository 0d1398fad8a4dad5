/**
 * USE CASES: service tokens are made, and get a new secret. The secret is in the answer and nowhere else; only its hash is stored. Not whether
 * one is good when it comes: the gateway asks that, with #policy.
 */

import { hash, randomBytes } from 'node:crypto'
import { DAY, MINUTE, type Clock } from '#fleet/clock.ts'
import type { Actor, ServiceToken } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Registry } from '#registry/registry.ts'
import type { ServiceTokenCreate, ServiceTokenRotate } from '#wire/access-credentials.ts'
import { newId } from './credentials.ts'
import type { Created } from './create-token.ts'
import { durationOf } from './reading.ts'

/** Cloudflare's; of one that shall not end it has this word too. */
const DEFAULT_LIFE = 365 * DAY
const LIFE_RANGE = { min: MINUTE, max: 10 * 365 * DAY }
const FOREVER = 'forever'
/** Cloudflare's longest. 0: the old secret ends at once. */
const GRACE_RANGE = { min: 0, max: 30 * DAY }

/** The prefix says to people, and to scanners of source code, what it is. The hash is of the whole text. */
const newSecret = (): { readonly text: string; readonly hash: string } => {
  const text = `spst_${randomBytes(32).toString('base64url')}`
  return { text, hash: hash('sha256', text) }
}

type Deps = {
  readonly registry: Pick<Registry, 'createServiceToken' | 'findServiceToken' | 'rotateServiceToken'>
  readonly clock: Clock
}

const lifeOf = (duration: string | undefined): number | undefined => {
  if (duration === undefined) return DEFAULT_LIFE
  return duration === FOREVER ? undefined : durationOf('duration', duration, LIFE_RANGE)
}

/** @throws FleetError `bad_request`; `conflict`: the name is taken, also by one that was revoked; `registry_unavailable` */
export const createServiceToken = async (
  { registry, clock }: Deps,
  ask: ServiceTokenCreate,
  actor: Actor,
): Promise<Created<ServiceToken>> => {
  const now = clock()
  const life = lifeOf(ask.duration)
  const secret = newSecret()
  const token: ServiceToken = {
    id: newId(),
    name: ask.name,
    clientId: `${randomBytes(16).toString('hex')}.access`,
    hash: secret.hash,
    previous: undefined,
    revision: 1,
    createdAt: now,
    expiresAt: life === undefined ? undefined : now + life,
    revokedAt: undefined,
  }
  await registry.createServiceToken(token, actor)
  return { token, text: secret.text }
}

/**
 * @param o.ifRevision undefined: whatever it is
 * @throws FleetError `bad_request`; `not_found`; `conflict`: it is revoked or has expired; `precondition_failed`; `registry_unavailable`
 */
export const rotateServiceToken = async (
  { registry, clock }: Deps,
  {
    id,
    grace: given,
    ifRevision,
  }: NonNullable<ServiceTokenRotate> & {
    readonly id: string
    readonly ifRevision: number | undefined
  },
  actor: Actor,
): Promise<Created<ServiceToken>> => {
  const now = clock()
  const grace = given === undefined ? 0 : durationOf('grace', given, GRACE_RANGE)
  const { expiresAt } = (await registry.findServiceToken(id)) ?? {}
  if (expiresAt !== undefined && expiresAt <= now)
    throw new FleetError('conflict', 'the service token has expired: make another one')
  const secret = newSecret()
  const token = await registry.rotateServiceToken({
    id,
    hash: secret.hash,
    previousUntil: now + grace,
    ifRevision,
    now,
    actor,
  })
  if (token === undefined) throw new FleetError('not_found', 'no such service token')
  return { token, text: secret.text }
}

export const serviceTokenState = (token: ServiceToken, now: number): 'usable' | 'expired' | 'revoked' => {
  if (token.revokedAt !== undefined) return 'revoked'
  return token.expiresAt !== undefined && token.expiresAt <= now ? 'expired' : 'usable'
}
