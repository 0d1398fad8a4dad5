/** USE CASES: claim tokens and operator tokens are made. The secret is in the answer and nowhere else. */

import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import type { Device } from '#fleet/device.ts'
import type { Actor, ClaimToken, OperatorToken } from '#fleet/credentials.ts'
import type { Clock } from '#fleet/clock.ts'
import { formatDuration, parseDuration } from '#fleet/duration.ts'
import { FIRST_GROUP, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { CERTIFICATE_TTL_RANGE, DEFAULT_TOKEN_LIFE, TOKEN_LIFE_RANGE } from '#policy/enrollment.ts'
import { judgeName } from '#policy/enrollment-group.ts'
import type { Registry } from '#registry/registry.ts'
import type { OperatorCreate, TokenCreate } from '#wire/rest.ts'
import { newClaimSecret, newOperatorSecret } from './credentials.ts'

type Deps = { readonly registry: Registry; readonly clock: Clock }

/** `text`: the secret */
export type Created<T> = { readonly token: T; readonly text: string }

const durationOf = (
  name: string,
  text: string,
  range: { readonly min: number; readonly max: number },
): number => {
  const ms = parseDuration(text)
  if (ms === undefined)
    throw new FleetError('bad_request', `${name}: write a duration such as 90s, 1h or 30d`)
  if (ms < range.min || ms > range.max) {
    throw new FleetError(
      'bad_request',
      `${name}: must be from ${formatDuration(range.min)} to ${formatDuration(range.max)}`,
    )
  }
  return ms
}

/** @returns undefined: the group's. @throws `bad_request` */
const ttlOf = (
  text: string | undefined,
  { name, maxCertificateTtl }: EnrollmentGroup,
): number | undefined => {
  if (text === undefined) return undefined
  const ms = durationOf('cert_ttl', text, CERTIFICATE_TTL_RANGE)
  if (ms > maxCertificateTtl)
    throw new FleetError(
      'bad_request',
      `cert_ttl: the group ${name} allows ${formatDuration(maxCertificateTtl)} at most`,
    )
  return ms
}

/**
 * The group of a device that is here judges it, whatever the token says; so that is what the token says, too.
 * @throws `not_found`: there is no such group; `conflict`: the device is in another one
 */
const groupOf = (
  registry: Registry,
  asked: string | undefined,
  device: Device | undefined,
): EnrollmentGroup => {
  const name = asked ?? device?.group ?? FIRST_GROUP
  const group = registry.groups().get(name)
  if (group === undefined) throw new FleetError('not_found', `there is no group ${name}`)
  if (device !== undefined && device.group !== name)
    throw new FleetError('conflict', `the device is in the group ${device.group}`)
  return group
}

/** It would be refused when it is used; said here, to whoever can do something about it. */
const checkUse = (group: EnrollmentGroup, deviceId: DeviceId | undefined): void => {
  if (!group.credentials.includes('token'))
    throw new FleetError('credential_not_allowed', `the group ${group.name} takes no claim tokens`)
  if (deviceId === undefined) return
  const verdict = judgeName(group, deviceId)
  if (!verdict.ok) throw new FleetError(verdict.reason, verdict.detail)
}

const bindTo = async (
  registry: Registry,
  id: string | undefined,
): Promise<{ readonly deviceId?: DeviceId; readonly device?: Device | undefined }> => {
  if (id === undefined) return {}
  if (!isDeviceId(id)) {
    throw new FleetError(
      'device_id_invalid',
      'a device id is 1 to 64 of A-Z a-z 0-9 . _ ~ : - and begins with a letter or digit',
    )
  }
  const device = await registry.findDevice(id)
  if (device?.state === 'retired') {
    throw new FleetError('conflict', 'the device is retired, which is final; choose another id')
  }
  return { deviceId: id, device }
}

/** @throws FleetError `bad_request`, `device_id_invalid`, `not_found`, `conflict`, `credential_not_allowed`, `registry_unavailable` */
export const createToken = async (
  { registry, clock }: Deps,
  ask: TokenCreate & { readonly rootSha256: string },
  actor: Actor,
): Promise<Created<ClaimToken>> => {
  const now = clock()
  const life =
    ask.expires === undefined ? DEFAULT_TOKEN_LIFE : durationOf('expires', ask.expires, TOKEN_LIFE_RANGE)
  const { deviceId, device } = await bindTo(registry, ask.device_id)
  const group = groupOf(registry, ask.group, device)
  const certificateTtl = ttlOf(ask.cert_ttl, group)
  checkUse(group, deviceId)
  const { id, hash, text } = newClaimSecret(ask.rootSha256)
  const token: ClaimToken = {
    id,
    hash,
    deviceId,
    group: group.name,
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
