/**
 * VERDICTS of a group on one enrolment: who comes, by which credential, with which key, under which id. The most specific entry wins: a
 * device that is known is judged by its own state and its own group, whatever group its credential is of.
 * Not the state of the moment (uses, quotas, keys of others): that is checked inside the registry's transaction.
 */

import type { KeyFacts, SubjectExtras } from '#fleet/certificate.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Device, DeviceState } from '#fleet/device.ts'
import type { CredentialKind, EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { nameDevice, type Named, type Naming } from './enrollment.ts'
import { formOf } from './id-template.ts'
import { fillProfile } from './profile.ts'

export type Verdict =
  { readonly ok: true } | { readonly ok: false; readonly reason: ErrorCode; readonly detail: string }

const YES: Verdict = { ok: true }
const no = (reason: ErrorCode, detail: string): Verdict => ({ ok: false, reason, detail })

/** A disabled device is refused though its group is enabled. `revoked`: a token made since may bring it back, which is the registry's to say. */
const DEVICE_REFUSALS: Readonly<Partial<Record<DeviceState, ErrorCode>>> = {
  suspended: 'device_suspended',
  retired: 'device_retired',
}

/** What is looked at of a device that is known. */
export type KnownDevice = Pick<Device, 'state' | 'group' | 'registeredSpki'>

export type GroupAsk = {
  /** `group`: of the credential. `bound`: it is good for one id */
  readonly claim: { readonly kind: CredentialKind; readonly group: string; readonly bound: boolean }
  /** of the device when it is known, else of the credential; undefined: gone */
  readonly group: EnrollmentGroup | undefined
  /** undefined: there is none, or nobody has looked */
  readonly device: KnownDevice | undefined
  /** was it looked for? */
  readonly looked: boolean
  readonly key: KeyFacts
  readonly spkiSha256: string
}

/**
 * A bootstrap certificate was verified by its own group's anchors, and no other group has said that it trusts those. An operator who
 * approved was shown the group that was named, and no other.
 */
const judgeGroups = ({ claim, device }: GroupAsk): Verdict => {
  if (device === undefined || device.group === claim.group || claim.kind === 'allow_list') return YES
  if (claim.kind === 'token' && claim.bound) return YES
  return no('credential_not_allowed', 'the device is in another group than the credential is for')
}

const judgeDevice = ({ device, spkiSha256 }: GroupAsk): Verdict => {
  if (device === undefined) return YES
  const refusal = DEVICE_REFUSALS[device.state]
  if (refusal !== undefined) return no(refusal, `the device is ${device.state}`)
  const { state, registeredSpki } = device
  if (state === 'registered' && registeredSpki !== undefined && registeredSpki !== spkiSha256)
    return no('credential_not_allowed', 'the device was registered with another key')
  return YES
}

const judgeRules = ({ claim, group, device, looked, key }: GroupAsk): Verdict => {
  if (group === undefined) return no('group_disabled', 'the enrolment group is gone')
  if (!group.enabled) return no('group_disabled', `the enrolment group ${group.name} is disabled`)
  if (!group.credentials.includes(claim.kind))
    return no('credential_not_allowed', `the group ${group.name} takes ${group.credentials.join(', ')}`)
  if (key.kind === 'other' || !group.keyKinds.includes(key.kind))
    return no('key_kind_not_allowed', `the group ${group.name} takes ${group.keyKinds.join(', ')}`)
  if (group.registeredOnly && looked && device === undefined)
    return no('device_not_registered', `the group ${group.name} takes registered devices only`)
  return YES
}

/** The device first: what is said of it alone says more than what is said of its group. */
export const judgeEnrollment = (ask: GroupAsk): Verdict => {
  for (const judge of [judgeDevice, judgeGroups, judgeRules]) {
    const verdict = judge(ask)
    if (!verdict.ok) return verdict
  }
  return YES
}

/** `bound`: the credential is good for this id and no other. */
export type NamedInGroup =
  | { readonly ok: true; readonly deviceId: DeviceId; readonly bound: boolean }
  | Exclude<Named, { readonly ok: true }>

/**
 * As {@link nameDevice}; the template of the credential's group may make the id of who comes with a bootstrap certificate.
 * @param naming.certificate what the bootstrap certificate says; undefined: none was shown
 */
export const nameInGroup = (
  naming: Naming & { readonly certificate: Readonly<Record<string, string>> | undefined },
  template: string | undefined,
): NamedInGroup => {
  const form =
    template === undefined || naming.certificate === undefined
      ? undefined
      : formOf(template, naming.certificate)
  if (form?.kind === 'none') return { ok: false, reason: 'device_id_invalid', detail: form.problem }
  const bound = form?.kind === 'made' ? form.deviceId : naming.bound
  const named = nameDevice({ ...naming, bound })
  if (!named.ok) return named
  return { ...named, bound: bound !== undefined }
}

/** What the ids of a group look like is for who has shown a credential: a stranger could make ids of it. */
const MAY_HEAR_FORM: ReadonlySet<CredentialKind> = new Set(['token', 'bootstrap'])

/** @returns the id has not the form that the group's ids have */
export const judgeForm = (
  template: string | undefined,
  deviceId: DeviceId,
  certificate: Readonly<Record<string, string>> | undefined,
  by: CredentialKind,
): Verdict => {
  if (template === undefined) return YES
  const form = formOf(template, certificate)
  if (form.kind === 'none') return no('device_id_invalid', form.problem)
  const fits = form.kind === 'made' ? form.deviceId === deviceId : form.allows(deviceId)
  if (fits) return YES
  return no(
    'device_id_invalid',
    MAY_HEAR_FORM.has(by)
      ? `the ids of the group have the form ${template}`
      : 'the ids of the group have another form',
  )
}

/** What the group's certificates say of this device beside id, key and dates; or that they cannot. */
export const extrasIn = (
  { name, profile }: Pick<EnrollmentGroup, 'name' | 'profile'>,
  deviceId: DeviceId,
):
  | { readonly ok: true; readonly extras: SubjectExtras | undefined }
  | Exclude<Verdict, { readonly ok: true }> => {
  const filled = fillProfile(profile, deviceId)
  return filled.ok
    ? filled
    : {
        ok: false,
        reason: 'device_id_invalid',
        detail: `the device id does not fit the profile of the group ${name}: ${filled.field} ${filled.problem}`,
      }
}

/** Could a device of that name enrol into the group at all? For operators, before it tries: the form is told. */
export const judgeName = (
  group: Pick<EnrollmentGroup, 'name' | 'idTemplate' | 'profile'>,
  deviceId: DeviceId,
): Verdict => {
  const form = judgeForm(group.idTemplate, deviceId, undefined, 'token')
  if (!form.ok) return form
  const filled = extrasIn(group, deviceId)
  return filled.ok ? YES : filled
}

/** ms; undefined: the credential says nothing of it */
export const grantedTtl = (
  asked: number | undefined,
  group: Pick<EnrollmentGroup, 'certificateTtl' | 'maxCertificateTtl'>,
): number => Math.min(asked ?? group.certificateTtl, group.maxCertificateTtl)
