/**
 * USE CASE: a device gets its first certificate, or the first after its credentials were void. REST and EST both come here, whatever the
 * credential. In this order, cheap before dear, and nothing asked of anybody for a use that was served before:
 *
 *   the CSR, which proves the key → the credential, when it is none of a header → the id → the device's own entry and its group → what
 *   the group says → an earlier use is served again → the webhook → an operator → the registry's transaction, signature, record
 *
 * Not the wire: no HTTP, no PEM in answers.
 */

import type { EnrollmentRequest } from '#fleet/credentials.ts'
import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import type { CsrFacts } from '#pki/csr.ts'
import {
  grantedTtl,
  judgeEnrollment,
  judgeForm,
  nameInGroup,
  type Verdict,
} from '#policy/enrollment-group.ts'
import { requestCredential } from './approvals.ts'
import { authenticateBootstrap } from './bootstrap.ts'
import { credentialOf, type Claim } from './claim.ts'
import { acceptCsrInTurn, issueCertificate, type IssuanceDeps, type Issued } from './issuance.ts'
import { isBootstrapPeer } from './asker.ts'
import { claimOfStranger } from './stranger.ts'

/** What the registry may still find wrong with the credential; counted against the address like a wrong one. */
const CREDENTIAL_REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'token_invalid',
  'token_expired',
  'token_spent',
  'token_revoked',
])

/**
 * `csr`: PEM text, or DER. `deviceId`: what the request asks to be called. `group`: that it names, by itself or by an EST label; a
 * credential has its own. `peer`: of this connection. `address`: remote IP. `requestId`: of the HTTP request, as in our log.
 */
export type EnrollAsk = {
  readonly csr: string | Uint8Array
  readonly deviceId?: string | undefined
  readonly group?: string | undefined
  readonly peer?: Peer | undefined
  readonly address: string
  readonly requestId: string
}

/** An operator is to decide. `retryAfter`: seconds. */
export type Waiting = { readonly requestId: string; readonly retryAfter: number }

export const isWaiting = (answer: Issued | Waiting): answer is Waiting => 'requestId' in answer

type Groups = ReadonlyMap<string, EnrollmentGroup>

const orRefuse = (verdict: Verdict): void => {
  if (!verdict.ok) throw new FleetError(verdict.reason, verdict.detail)
}

/** One enrolment, as far as it has been settled. */
type Case = {
  readonly claim: Claim
  readonly csr: CsrFacts
  readonly group: EnrollmentGroup
  readonly deviceId: DeviceId
  /** the credential is good for this id and no other */
  readonly bound: boolean
  readonly address: string
  /** in our log */
  readonly logId: string
}

/** What a bootstrap certificate says; undefined: none was shown. */
const certificateOf = (claim: Claim): Claim['variables'] | undefined =>
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
const settle = async (
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
  orRefuse(judgeForm(group.idTemplate, deviceId, certificateOf(claim)))
  return { ...o, group }
}

/** What the webhook and the operator have said. */
type Said = { readonly requestId?: string; readonly tags?: Readonly<Record<string, string>> }

const issue = async (
  deps: IssuanceDeps,
  { claim, csr, group, deviceId, bound, address }: Case,
  { requestId, tags }: Said = {},
): Promise<Issued> => {
  const approved = claim.kind === 'approval'
  const by = { ...claim, bound: bound ? deviceId : undefined, id: approved ? (requestId ?? '') : claim.id }
  try {
    return await issueCertificate(deps, {
      actor: approved ? `device:${deviceId}` : claim.actor,
      deviceId,
      credential: credentialOf(by, group.bootstrap?.certificatesPerCredential ?? 1),
      requestId,
      group,
      tags: tags === undefined ? group.tags : { ...group.tags, ...tags },
      csr,
      ttl: grantedTtl(claim.ttl, group),
    })
  } catch (error) {
    if (error instanceof FleetError && CREDENTIAL_REFUSALS.has(error.code)) deps.failures.failed(address)
    throw error
  }
}

/** Asks for what the webhook says of it; under the id that the webhook gives it. */
const askWebhook = async (
  deps: IssuanceDeps,
  groups: Groups,
  it: Case,
): Promise<{ readonly it: Case; readonly tags: Readonly<Record<string, string>> | undefined }> => {
  const { claim, csr, group, deviceId, address, logId } = it
  if (group.webhook === undefined) return { it, tags: undefined }
  const answer = await deps.webhooks.ask(group, { requestId: logId, claim, deviceId, csr, address })
  if (!answer.allow) throw new FleetError('enrollment_denied', answer.detail)
  const { tags, deviceId: other = deviceId } = answer
  if (other === deviceId) return { it, tags }
  if (!isDeviceId(other) || it.bound)
    throw new FleetError(
      'enrollment_denied',
      'the webhook named a device that the credential is not good for',
    )
  const moved = await settle(deps, groups, { ...it, deviceId: other })
  if (moved.group !== group)
    throw new FleetError('enrollment_denied', 'the webhook named a device of another group')
  return { it: moved, tags }
}

/** Of (credential, key): what was granted is handed out again, and nobody is asked again. */
const servedBefore = async (
  deps: IssuanceDeps,
  groups: Groups,
  it: Case,
  request: EnrollmentRequest | undefined,
): Promise<Issued | undefined> => {
  const { claim, csr, deviceId } = it
  const { kind } = claim
  if (kind !== 'approval') {
    const id = kind === 'allow_list' ? deviceId : claim.id
    const use = await deps.registry.findUse({ kind, id }, csr.spkiSha256)
    return use && issue(deps, { ...it, deviceId: use.deviceId })
  }
  if (request?.state !== 'issued') return undefined
  const settled = await settle(deps, groups, { ...it, deviceId: request.deviceId }, true)
  return issue(deps, settled, { requestId: request.id })
}

/** Where others are asked: a backend, an operator. */
const enrollAsking = async (deps: IssuanceDeps, groups: Groups, settled: Case): Promise<Issued | Waiting> => {
  const { claim, csr, group, address } = settled
  const request = await deps.registry.findRequestOf(
    requestCredential(claim, group.name, settled.deviceId),
    csr.spkiSha256,
  )
  const served = await servedBefore(deps, groups, settled, request)
  if (served !== undefined) return served

  const decides = group.approval || claim.kind === 'approval'
  const isOpen = request?.state === 'waiting' || request?.state === 'approved'
  // a credential that has ended is good for what was asked in time, and for nothing more
  if (claim.late && !(decides && isOpen)) throw new FleetError('token_expired', 'ask for a new claim token')
  if (!decides) {
    const { it, tags } = await askWebhook(deps, groups, settled)
    return issue(deps, it, tags === undefined ? {} : { tags })
  }

  const decide = (deviceId: DeviceId) => deps.approvals.decide({ claim, group, deviceId, csr, address })
  // who only wants to know how it stands costs no backend anything; the id may be one that the webhook gave
  if (group.webhook !== undefined && request?.state === 'waiting') {
    const answer = await decide(request.deviceId)
    if (answer.state === 'waiting') return answer
  }
  const { it, tags } = await askWebhook(deps, groups, settled)
  const answer = await decide(it.deviceId)
  if (answer.state === 'waiting') return answer
  // what was not looked at before: the device's own entry, now that an operator has vouched for who asks
  const decided = claim.kind === 'approval' ? await settle(deps, groups, it, true) : it
  return issue(deps, decided, { requestId: answer.requestId, ...(tags === undefined ? {} : { tags }) })
}

/**
 * @param claim proved by a header; undefined: it is a certificate of this connection, or there is none
 * @throws FleetError: the CSR's, the credential's, `device_id_*`, those of {@link judgeEnrollment}, `enrollment_denied`,
 * `webhook_unavailable`, `quota_exceeded`, and those of {@link issueCertificate}
 */
export const enrollDevice = async (
  deps: IssuanceDeps,
  claim: Claim | undefined,
  ask: EnrollAsk,
): Promise<Issued | Waiting> => {
  // the chain before the request: a certificate that nobody trusts costs no more than itself
  const proved =
    claim ?? (isBootstrapPeer(deps, ask.peer) ? authenticateBootstrap(deps, ask.peer, ask.group) : undefined)
  const csr = await acceptCsrInTurn(ask.csr)
  const { deviceId: asked, address } = ask
  const by = proved ?? (await claimOfStranger(deps, { csr, deviceId: asked, group: ask.group, address }))
  const groups = deps.registry.groups()
  const named = nameInGroup(
    { bound: by.bound, asked, commonName: csr.commonName, certificate: certificateOf(by) },
    groups.get(by.group)?.idTemplate,
  )
  if (!named.ok) throw new FleetError(named.reason, named.detail)
  const { deviceId, bound } = named
  const settled = await settle(deps, groups, {
    claim: by,
    csr,
    deviceId,
    bound,
    address,
    logId: ask.requestId,
  })
  const { group } = settled
  const asks = group.webhook !== undefined || group.approval || by.kind === 'approval' || by.late
  return asks ? enrollAsking(deps, groups, settled) : issue(deps, settled)
}
