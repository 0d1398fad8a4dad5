/** USE CASES: claim tokens and operator tokens are made. The secret is in the answer and nowhere else. */

import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import type { Actor, ClaimToken, OperatorToken } from '#fleet/credentials.ts'
import type { Clock } from '#fleet/clock.ts'
import { parseDuration } from '#fleet/duration.ts'
import { FIRST_GROUP } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import {
  CERTIFICATE_TTL_RANGE,
  DEFAULT_CERTIFICATE_TTL,
  DEFAULT_TOKEN_LIFE,
  TOKEN_LIFE_RANGE,
} from '#policy/enrollment.ts'
import type { Registry } from '#registry/registry.ts'
import type { OperatorCreate, TokenCreate } from '#wire/rest.ts'
import { newClaimSecret, newOperatorSecret } from './credentials.ts'

type Deps = { readonly registry: Registry; readonly clock: Clock }

/** `text`: the secret */
export type Created<T> = { readonly token: T; readonly text: string }

const durationOf = (
  name: string,
  text: string | undefined,
  fallback: number,
  range: { readonly min: number; readonly max: number },
): number => {
  if (text === undefined) return fallback
  const ms = parseDuration(text)
  if (ms === undefined)
    throw new FleetError('bad_request', `${name}: write a duration such as 90s, 1h or 30d`)
  if (ms < range.min || ms > range.max) {
    throw new FleetError(
      'bad_request',
      `${name}: must be from ${range.min / 1_000}s to ${range.max / 86_400_000}d`,
    )
  }
  return ms
}

const boundTo = async (registry: Registry, id: string | undefined): Promise<DeviceId | undefined> => {
  if (id === undefined) return undefined
  if (!isDeviceId(id)) {
    throw new FleetError(
      'device_id_invalid',
      'a device id is 1 to 64 of A-Z a-z 0-9 . _ ~ : - and begins with a letter or digit',
    )
  }
  // It would be refused when it is used; said here, to whoever can do something about it.
  if ((await registry.findDevice(id))?.state === 'retired') {
    throw new FleetError('conflict', 'the device is retired, which is final; choose another id')
  }
  return id
}

/** @throws FleetError `bad_request`, `device_id_invalid`, `conflict`, `registry_unavailable` */
export const createToken = async (
  { registry, clock }: Deps,
  ask: TokenCreate & { readonly rootSha256: string },
  actor: Actor,
): Promise<Created<ClaimToken>> => {
  const now = clock()
  const life = durationOf('expires', ask.expires, DEFAULT_TOKEN_LIFE, TOKEN_LIFE_RANGE)
  const certificateTtl = durationOf('cert_ttl', ask.cert_ttl, DEFAULT_CERTIFICATE_TTL, CERTIFICATE_TTL_RANGE)
  const deviceId = await boundTo(registry, ask.device_id)
  const { id, hash, text } = newClaimSecret(ask.rootSha256)
  const token: ClaimToken = {
    id,
    hash,
    deviceId,
    group: FIRST_GROUP,
    uses: ask.uses ?? 1,
    used: 0,
    createdAt: now,
    expiresAt: now + life,
    certificateTtl,
    revokedAt: undefined,
  }
  await registry.createToken(token, actor)
  return { token, text }
}

export const createOperatorToken = async (
  { registry, clock }: Deps,
  ask: OperatorCreate,
  actor: Actor,
): Promise<Created<OperatorToken>> => {
  const { id, hash, text } = newOperatorSecret()
  const token: OperatorToken = { id, hash, ...ask, createdAt: clock(), revokedAt: undefined }
  await registry.createOperatorToken(token, actor)
  return { token, text }
}
