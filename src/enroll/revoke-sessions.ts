/**
 * USE CASE: sessions end before their time, by token, device, application, or all of them. Whoever still has a good certificate begins a new
 * one at the next handshake: to keep a device out, revoke or suspend it.
 */

import { hash } from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import { isDeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import { MAX_AHEAD, MAX_SESSION, type SessionRevocation, type SessionScope } from '#fleet/session.ts'
import type { Registry } from '#registry/registry.ts'
import type { SessionsRevoke } from '#wire/access-credentials.ts'
import { bad } from './reading.ts'

type Deps = {
  readonly registry: Pick<Registry, 'findDevice' | 'findAccess' | 'newestRecordedTime' | 'revokeSessions'>
  readonly clock: Clock
}

/** The `jti` of a JWT, as the gateway makes it: no secret, and never stored. */
const TOKEN_ID = /^[A-Za-z0-9_-]{16,128}$/

const missing = (what: string): FleetError => new FleetError('not_found', `there is no ${what}`)

/** A mistyped name must not look as if its sessions had ended. @throws `not_found`, `bad_request` */
const deviceSubject = async ({ registry }: Deps, text: string): Promise<string> => {
  const slash = text.indexOf('/')
  if (slash === -1) {
    if (!isDeviceId(text) || (await registry.findDevice(text)) === undefined) throw missing(`device ${text}`)
    return text
  }
  const anchor = text.slice(0, slash)
  if (slash === text.length - 1) throw bad('subject', 'write <anchor>/<common name>')
  if ((await registry.findAccess('anchor', anchor)) === undefined) throw missing(`anchor ${anchor}`)
  return text
}

const SUBJECTS: Readonly<
  Record<Exclude<SessionScope, 'everything'>, (deps: Deps, text: string) => Promise<string>>
> = {
  token: async (_, text) => {
    if (!TOKEN_ID.test(text))
      throw bad('subject', 'write the jti of a session token, as get-identity shows it')
    return hash('sha256', text)
  },
  device: deviceSubject,
  application: async ({ registry }, name) => {
    const found = await registry.findAccess('application', name)
    if (found === undefined) throw missing(`application ${name}`)
    return found.value.id
  },
}

/** @throws FleetError `bad_request`: a subject that cannot be, is missing, or is too much; `not_found`; `registry_unavailable` */
export const revokeSessions = async (
  deps: Deps,
  { scope, subject }: SessionsRevoke,
  actor: Actor,
): Promise<SessionRevocation> => {
  if ((scope === 'everything') !== (subject === undefined))
    throw bad('subject', scope === 'everything' ? 'everything has none' : `say which ${scope}`)
  const resolved = scope === 'everything' ? '' : await SUBJECTS[scope](deps, subject as string)
  const now = deps.clock()
  // a clock that was set back: what began before that is dated later than now
  const newest = await deps.registry.newestRecordedTime()
  const before = Math.max(now, Math.min(newest, now + MAX_AHEAD))
  // no session lives longer, so none that this ends outlives it
  const revocation = { scope, subject: resolved, before, expiresAt: before + MAX_SESSION }
  await deps.registry.revokeSessions(revocation, now, actor)
  return revocation
}
