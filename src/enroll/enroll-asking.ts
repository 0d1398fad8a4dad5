/**
 * Enrolments where others are asked: a webhook, an operator. What was granted before is found first, then what would be refused anyway,
 * so that nobody is asked for nothing; and what may have changed while they were asked is settled again. A part of enroll-device.ts.
 */

import type { EnrollmentRequest } from '#fleet/credentials.ts'
import { isDeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { tagsProblem, type Tags } from '#fleet/tags.ts'
import { isOver, requestCredential, yieldOf } from './approvals.ts'
import { issue, reservedBy, settle, type Case, type Groups } from './enroll-case.ts'
import type { IssuanceDeps, Issued } from './issuance.ts'

/** Seconds. The group is known by then. */
const CHANGED_MEANWHILE = 1

/** An operator is to decide. `retryAfter`: seconds. */
export type Waiting = { readonly requestId: string; readonly retryAfter: number }

/** The group's stand, whatever the webhook says. @throws `webhook_unavailable`: together they are no tags of a device */
const tagsWith = (group: EnrollmentGroup, tags: Tags | undefined): Tags | undefined => {
  const all = tags && { ...tags, ...group.tags }
  const problem = all && tagsProblem(all)
  if (problem === undefined) return all
  throw new FleetError('webhook_unavailable', 'the tags of the webhook do not go with those of the group', {
    cause: new Error(problem),
  })
}

/** Asks for what the webhook says of it, under the id that the webhook gives it, as everything stands once it has answered. */
const askWebhook = async (
  deps: IssuanceDeps,
  it: Case,
): Promise<{ readonly it: Case; readonly tags: Tags | undefined }> => {
  const { claim, csr, group, deviceId: asked, address, logId } = it
  if (group.webhook === undefined) return { it, tags: undefined }
  const answer = await deps.webhooks.ask(group, { requestId: logId, claim, deviceId: asked, csr, address })
  if (!answer.allow) throw new FleetError('enrollment_denied', answer.detail)
  const { deviceId = asked } = answer
  if (deviceId !== asked && (!isDeviceId(deviceId) || it.bound))
    throw new FleetError(
      'enrollment_denied',
      'the webhook named a device that the credential is not good for',
    )
  const settled = await settle(deps, deps.registry.groups(), { ...it, deviceId })
  const { name, approval, webhook } = settled.group
  if (name !== group.name)
    throw new FleetError('enrollment_denied', 'the device is in another group than the webhook was asked for')
  const { url, ca } = group.webhook
  if (approval !== group.approval || webhook?.url !== url || webhook.ca !== ca)
    throw new FleetError('webhook_unavailable', 'the group has been changed meanwhile: ask again', {
      retryAfter: CHANGED_MEANWHILE,
    })
  return { it: settled, tags: tagsWith(settled.group, answer.tags) }
}

/**
 * Of (credential, key): what was granted is handed out again, and nobody is asked again. But not for what a bound token pays with a use more,
 * when that has expired: it is asked for as any use. One that has none left is refused by the registry, which says why.
 */
const servedBefore = async (
  deps: IssuanceDeps,
  groups: Groups,
  it: Case,
  request: EnrollmentRequest | undefined,
): Promise<Issued | undefined> => {
  const { claim, csr, deviceId } = it
  const { kind } = claim
  const done = request?.state === 'issued' ? request : undefined
  if (kind === 'approval' && done === undefined) return undefined
  const id = kind === 'approval' ? done?.id : kind === 'allow_list' ? deviceId : claim.id
  const use = await deps.registry.findUse({ kind, id: id ?? '' }, csr.spkiSha256)
  if (use === undefined) return undefined
  if (deviceId !== use.deviceId && deviceId !== use.askedId)
    throw new FleetError('device_id_mismatch', 'this credential and key were used for another device id')
  if (kind === 'token' && it.bound && isOver(use, deps.clock())) {
    const token = await deps.registry.findToken(claim.id)
    if (token !== undefined && token.used < token.uses) return undefined
  }
  const { deviceId: given, askedId = given } = use
  const served = { ...it, deviceId: given, asked: askedId }
  if (kind === 'approval')
    return issue(deps, await settle(deps, groups, served, true), { requestId: done?.id ?? '' })
  // a token that has ended is good for what was approved, so it must be said what that was
  const approved = done?.deviceId === given && done.group === it.group.name
  return issue(deps, served, approved ? { requestId: done.id } : {})
}

/** Where others are asked: a backend, an operator. Before each of them: has the credential anything left to be asked about? */
export const enrollAsking = async (
  deps: IssuanceDeps,
  groups: Groups,
  settled: Case,
): Promise<Issued | Waiting> => {
  const { claim, csr, group, address } = settled
  const { registry, approvals, overQuota } = deps
  const credential = requestCredential(claim, group.name, settled.deviceId)
  const request = await registry.findRequestOf(credential, csr.spkiSha256)
  const served = await servedBefore(deps, groups, settled, request)
  if (served !== undefined) return served

  const watch = <T>(work: () => Promise<T>): Promise<T> =>
    overQuota.watch({ credential: reservedBy(settled), actor: claim.actor, group: group.name }, work)
  const decides = group.approval || claim.kind === 'approval'
  const isOpen = request?.state === 'waiting' || request?.state === 'approved'
  // a credential that has ended is good for what was asked in time, and for nothing more
  if (claim.late && !(decides && isOpen)) throw new FleetError('token_expired', 'ask for a new claim token')
  if (!decides) {
    await watch(() => registry.checkUsesLeft(credential, yieldOf(claim.kind, group)))
    const { it, tags } = await askWebhook(deps, settled)
    return issue(deps, it, { tags })
  }

  const decide = (it: Case) =>
    watch(() => approvals.decide({ claim, group: it.group, deviceId: it.deviceId, csr, address }))
  if (group.webhook !== undefined) {
    const isDenied = request?.state === 'denied' && deps.clock() < request.expiresAt
    if (request?.state === 'waiting' || isDenied) {
      // who only wants to know how it stands costs no backend anything; the id may be one that the webhook gave
      const answer = await decide({ ...settled, deviceId: request.deviceId })
      if (answer.state === 'waiting') return answer
    } else if (!isOpen) {
      const { deviceId } = settled
      await watch(() => approvals.check({ claim, group, deviceId, address }))
    }
  }
  const { it, tags } = await askWebhook(deps, settled)
  const answer = await decide(it)
  if (answer.state === 'waiting') return answer
  // what was not looked at before: the device's own entry, now that an operator has vouched for who asks
  const decided = claim.kind === 'approval' ? await settle(deps, registry.groups(), it, true) : it
  return issue(deps, decided, { requestId: answer.requestId, tags })
}
