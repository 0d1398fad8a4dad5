/**
 * One enrolment on its way: what has been settled of it, the group that judges it, and how it ends in a certificate. A part of
 * enroll-device.ts, which says in which order.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Tags } from '#fleet/tags.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { grantedTtl, judgeEnrollment, judgeForm, type Verdict } from '#policy/enrollment-group.ts'
import type { Reservation } from '#registry/registry.ts'
import { credentialOf, type Claim } from './claim.ts'
import { issueCertificate, type IssuanceDeps, type Issued } from './issuance.ts'

export type Groups = ReadonlyMap<string, EnrollmentGroup>

const orRefuse = (verdict: Verdict): void => {
  if (!verdict.ok) throw new FleetError(verdict.reason, verdict.detail)
}

/** One enrolment, as far as it has been settled. */
export type Case = {
  readonly claim: Claim
  readonly csr: CsrFacts
  readonly group: EnrollmentGroup
  readonly deviceId: DeviceId
  /** what it asked to be called, before a webhook gave it another id */
  readonly asked: DeviceId
  /** the credential is good for this id and no other */
  readonly bound: boolean
  readonly address: string
  /** in our log */
  readonly logId: string
}

/** What a bootstrap certificate says; undefined: none was shown. */
export const certificateOf = (claim: Claim): Claim['variables'] | undefined =>
  claim.kind === 'bootstrap' ? claim.variables : undefined

/**
 * The device's own entry is looked at where it may say something that the registry's transaction does not: what group it is in, when there
 * are several; what it may not, before anybody is asked. Of who has proved nothing it is not looked at before an operator has said yes:
 * the answer would tell which ids there are.
 */
const looksUp = (groups: Groups, claim: Claim, decided: boolean): boolean => {
  if (claim.kind === 'approval') return decided
  const group = groups.get(claim.group)
  return groups.size > 1 || group?.webhook !== undefined || group?.approval === true
}

/** The group that judges, and its verdict. @param decided an operator has said yes */
export const settle = async (
  { registry }: IssuanceDeps,
  groups: Groups,
  o: Omit<Case, 'group'>,
  decided = false,
): Promise<Case> => {
  const { claim, csr, deviceId, bound } = o
  const looked = looksUp(groups, claim, decided)
  const device = looked ? await registry.findDevice(deviceId) : undefined
  const group = groups.get(device?.group ?? claim.group)
  orRefuse(
    judgeEnrollment({
      claim: { kind: claim.kind, group: claim.group, bound },
      group,
      device,
      looked,
      key: csr.key,
      spkiSha256: csr.spkiSha256,
    }),
  )
  if (group === undefined) throw new FleetError('group_disabled', 'the enrolment group is gone')
  orRefuse(judgeForm(group.idTemplate, deviceId, certificateOf(claim), claim.kind))
  return { ...o, group }
}

/** What the webhook and the operator have said. `tags`: of a device that is made, the group's too. */
type Said = { readonly requestId?: string; readonly tags?: Tags | undefined }

/** How the registry is told of the credential. */
export const reservedBy = (
  { claim, group, deviceId, bound }: Case,
  requestId = '',
): Reservation['credential'] =>
  credentialOf(
    { ...claim, bound: bound ? deviceId : undefined, id: claim.kind === 'approval' ? requestId : claim.id },
    group.bootstrap?.certificatesPerCredential ?? 1,
  )

export const issue = (deps: IssuanceDeps, it: Case, { requestId, tags }: Said = {}): Promise<Issued> => {
  const { claim, csr, group, deviceId, asked } = it
  return issueCertificate(deps, {
    actor: claim.kind === 'approval' ? `device:${deviceId}` : claim.actor,
    deviceId,
    askedId: asked === deviceId ? undefined : asked,
    credential: reservedBy(it, requestId),
    requestId,
    group,
    tags: tags ?? group.tags,
    csr,
    ttl: grantedTtl(claim.ttl, group),
  })
}
