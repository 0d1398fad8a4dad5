/**
 * Who shows no credential at all: a device that was registered before (allow-list), or one that an operator is to decide on (approval).
 * What it costs is bounded by its address, and what it learns is little: an id that was not registered, one that was registered with
 * another key and one that has enrolled are answered alike.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { CredentialKind, EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FIRST_GROUP } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { nameDevice } from '#policy/enrollment.ts'
import type { Claim } from './claim.ts'
import type { IssuanceDeps } from './issuance.ts'

type Groups = ReadonlyMap<string, EnrollmentGroup>

/** The groups are one map until one of them changes. */
const known = new WeakMap<Groups, ReadonlySet<CredentialKind>>()

/** Does any group that is enabled take this kind of credential? */
export const isTaken = (groups: Groups, kind: CredentialKind): boolean => {
  let kinds = known.get(groups)
  if (kinds === undefined) {
    const enabled = [...groups.values()].filter((group) => group.enabled)
    known.set(groups, (kinds = new Set(enabled.flatMap(({ credentials }) => credentials))))
  }
  return kinds.has(kind)
}

const takes = (group: EnrollmentGroup | undefined, kind: CredentialKind): group is EnrollmentGroup =>
  group?.enabled === true && group.credentials.includes(kind)

const refusal = (): FleetError => new FleetError('credential_required', 'send a claim token')

/**
 * Before a byte of the body is read: could a stranger be let in at all, and has this one not asked too often?
 * @param group that is known to be meant; undefined: any
 * @throws `credential_required`, `rate_limited`
 */
export const checkStranger = (
  { registry, failures, strangers }: Pick<IssuanceDeps, 'registry' | 'failures' | 'strangers'>,
  address: string,
  group?: string,
): void => {
  const groups = registry.groups()
  const isOpen = (kind: CredentialKind): boolean =>
    group === undefined ? isTaken(groups, kind) : takes(groups.get(group), kind)
  if (!isOpen('allow_list') && !isOpen('approval')) throw refusal()
  failures.check(address)
  strangers.check(address)
  strangers.failed(address)
}

/** A device on the list, unless somebody else may hold its key. Its own key answers for it after it has enrolled, too. */
const onList = async (
  { registry }: IssuanceDeps,
  deviceId: DeviceId,
  asked: string | undefined,
  spkiSha256: string,
): Promise<string | undefined> => {
  const device = await registry.findDevice(deviceId)
  if (device === undefined || (asked !== undefined && asked !== device.group)) return undefined
  if (!takes(registry.groups().get(device.group), 'allow_list')) return undefined
  const { state, registeredSpki, group } = device
  if (registeredSpki === spkiSha256) return group
  if (state === 'registered') return registeredSpki === undefined ? group : undefined
  const key = await registry.findKey(spkiSha256)
  return key?.deviceId === deviceId ? group : undefined
}

/** The one that is named; else the first group, or the only one that takes it. */
const groupForApproval = (groups: Groups, asked: string | undefined): string | undefined => {
  const named = asked ?? (takes(groups.get(FIRST_GROUP), 'approval') ? FIRST_GROUP : undefined)
  if (named !== undefined) return takes(groups.get(named), 'approval') ? named : undefined
  const [only, ...more] = [...groups.values()].filter((group) => takes(group, 'approval'))
  return more.length === 0 ? only?.name : undefined
}

/**
 * Whom {@link checkStranger} has let through, with its key proved.
 * @param ask.group that it names
 * @returns `bound` to the id of the list; for an approval unbound: the operator decides
 * @throws `credential_required`, `device_id_invalid`, `device_id_mismatch`
 */
export const claimOfStranger = async (
  deps: IssuanceDeps,
  ask: {
    readonly csr: CsrFacts
    readonly deviceId: string | undefined
    readonly group: string | undefined
    readonly address: string
  },
): Promise<Claim> => {
  const { csr, address } = ask
  const named = nameDevice({ bound: undefined, asked: ask.deviceId, commonName: csr.commonName })
  if (!named.ok) throw new FleetError(named.reason, named.detail)
  const shared = { id: '', ttl: undefined, variables: {}, late: false }
  const listed = await onList(deps, named.deviceId, ask.group, csr.spkiSha256)
  if (listed !== undefined)
    return {
      ...shared,
      kind: 'allow_list',
      actor: `device:${named.deviceId}`,
      group: listed,
      bound: named.deviceId,
    }
  const group = groupForApproval(deps.registry.groups(), ask.group)
  if (group !== undefined)
    return { ...shared, kind: 'approval', actor: `address:${address}`, group, bound: undefined }
  deps.failures.failed(address)
  throw refusal()
}
