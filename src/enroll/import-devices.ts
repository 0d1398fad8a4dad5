/**
 * USE CASE: devices are registered before they enrol, many at a time. Each line is judged by itself; what it says of a device that has
 * enrolled changes its group and tags, never its state or its key. Not the file: that is the CLI's.
 */

import type { Actor } from '#fleet/credentials.ts'
import type { Clock } from '#fleet/clock.ts'
import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import { DEVICE_CONDITIONS, type DeviceCondition } from '#fleet/device.ts'
import { FIRST_GROUP, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { tagsProblem } from '#fleet/tags.ts'
import { judgeName } from '#policy/enrollment-group.ts'
import type { Registration, RegistrationResult } from '#registry/fleet-lists.ts'
import type { Registry } from '#registry/registry.ts'
import { SPKI_PATTERN, type ImportLine, type ImportResult } from '#wire/bulk.ts'

type Deps = { readonly registry: Registry; readonly clock: Clock }

const spkiGrammar = new RegExp(SPKI_PATTERN)

/** What an export says of devices that are here; what has ended is not made again. */
const REGISTERED_AS: Readonly<Record<DeviceCondition, Registration['state'] | undefined>> = {
  registered: 'registered',
  active: 'registered',
  renewal_due: 'registered',
  expired: 'registered',
  suspended: 'suspended',
  revoked: undefined,
  retired: undefined,
}

const DETAILS: Readonly<Record<NonNullable<RegistrationResult['reason']>, string>> = {
  device_exists:
    'the id is taken: by one that differs only in case, or by a device that has enrolled with another key',
  key_in_use: 'the key belongs to another device',
  key_compromised: 'the key is blocked, or was reported compromised',
  quota_exceeded: 'the group has as many devices as it may have',
}

type Judged =
  | { readonly ok: true; readonly line: Registration }
  | {
      readonly ok: false
      readonly reason: ErrorCode
      readonly detail: string
      /** the line says that it is over with this device, as an export does */
      readonly ended?: { readonly id: DeviceId; readonly state: DeviceCondition }
    }

const ENDED = {
  reason: 'conflict',
  detail: 'a device that is revoked or retired is not registered; revoke or retire it by its verb',
} as const

/** An empty cell says nothing. */
const said = (text: string | undefined): string | undefined => (text === '' ? undefined : text)

const no = (reason: ErrorCode, detail: string): Judged => ({ ok: false, reason, detail })

const judgeLine = (line: ImportLine, groups: ReadonlyMap<string, EnrollmentGroup>): Judged => {
  const { id, tags } = line
  const group = said(line.group)
  const spkiSha256 = said(line.spki_sha256)?.toLowerCase()
  const state = said(line.state)
  if (!isDeviceId(id))
    return no(
      'device_id_invalid',
      'a device id is 1 to 64 of A-Z a-z 0-9 . _ ~ : - and begins with a letter or digit',
    )
  if (group !== undefined && !groups.has(group)) return no('not_found', 'there is no such group')
  const badTags = tags === undefined ? undefined : tagsProblem(tags)
  if (badTags !== undefined) return no('bad_request', badTags)
  if (spkiSha256 !== undefined && !spkiGrammar.test(spkiSha256))
    return no('bad_request', 'spki_sha256: 64 hex digits, the SHA-256 of the SubjectPublicKeyInfo')
  if (state === undefined) return { ok: true, line: { id, group, tags, spkiSha256, state } }
  const known = DEVICE_CONDITIONS.find((condition) => condition === state)
  if (known === undefined) return no('bad_request', `state: one of ${DEVICE_CONDITIONS.join(', ')}`)
  const registered = REGISTERED_AS[known]
  if (registered === undefined) return { ok: false, ended: { id, state: known }, ...ENDED }
  return { ok: true, line: { id, group, tags, spkiSha256, state: registered } }
}

/**
 * Of a line that brings a device into a group: what is registered at the factory is not to be refused in the field. One that is in it stays,
 * whatever the group has come to say since: an export changes nothing where it was made.
 */
const judgeJoining = async (
  registry: Pick<Registry, 'findDevice'>,
  verdict: Judged,
  groups: ReadonlyMap<string, EnrollmentGroup>,
): Promise<Judged> => {
  if (!verdict.ok) return verdict
  const { id, group } = verdict.line
  const joins = groups.get(group ?? FIRST_GROUP)
  const name = joins && judgeName(joins, id)
  if (name === undefined || name.ok) return verdict
  const stored = await registry.findDevice(id)
  const stays = stored?.id === id && (group === undefined || group === stored.group)
  return stays ? verdict : name
}

const shown = ({ id, result, reason }: RegistrationResult): ImportResult => ({
  id,
  result,
  ...(reason === undefined ? {} : { reason, detail: DETAILS[reason] }),
})

/** @returns one result for each line, in order. @throws FleetError `registry_unavailable`: none was written */
export const importDevices = async (
  { registry, clock }: Deps,
  lines: readonly ImportLine[],
  actor: Actor,
): Promise<readonly ImportResult[]> => {
  const groups = registry.groups()
  const judged: Judged[] = []
  for (const line of lines) judged.push(await judgeJoining(registry, judgeLine(line, groups), groups))
  const good = judged.flatMap((verdict) => (verdict.ok ? [verdict.line] : []))
  const written = (good.length === 0 ? [] : await registry.registerDevices(good, clock(), actor)).values()
  const answer = async (verdict: Judged, at: number): Promise<ImportResult> => {
    if (verdict.ok) return shown(written.next().value as RegistrationResult)
    const { reason, detail, ended } = verdict
    const id = lines[at]?.id ?? ''
    if (ended !== undefined && (await registry.findDevice(ended.id))?.state === ended.state)
      return { id, result: 'unchanged' }
    return { id, result: 'refused', reason, detail }
  }
  const results: ImportResult[] = []
  for (const [at, verdict] of judged.entries()) results.push(await answer(verdict, at))
  return results
}
