/**
 * USE CASE: an enrolment that an operator decides. Whoever asks is told to come again (202) until the operator has said yes; then the
 * use case that asked goes on, with the request's id. Not the credential, and not the certificate: both are judged before and after.
 *
 * What was shown to the operator is what is approved: the same key, the same device id, the same group. Anything else is refused.
 */

import type { CertificateRecord } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { EnrollmentRequest } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { CsrFacts } from '#pki/csr.ts'
import type { Registry } from '#registry/registry.ts'
import type { RequestLimits } from '#registry/requests.ts'
import { limitKey, networkOf } from '#runtime/address-key.ts'
import type { Log } from '#runtime/log.ts'
import type { Claim } from './claim.ts'
import { newId } from './credentials.ts'
import { repeatedly } from './repeatedly.ts'

/** A request that nobody decided is over after this long, and so is a denial. */
export const REQUEST_LIFE = 7 * DAY
/** Decided ones are kept for people to read for this long after their end. */
const KEPT = 30 * DAY
/** Of those who proved nothing but a key or an id, waiting at once from one IPv4 address or IPv6 /64. */
const MOST_OF_ADDRESS = 50
/** The same of one IPv6 /48. */
const MOST_OF_NETWORK = 200
/** Keys of one id on the list, or by one certificate that looks like a copy: the device, the copy, and one that began again. */
const MOST_OF_ONE = 3
/** What strangers may take of a group's queue, and what they and the list may take together: the rest is for who has proved more. */
const SHARE_OF_STRANGERS = 0.5
const SHARE_OF_UNPROVED = 0.75
/** Asked again soon at first, when the operator may be at the desk, and less often later. */
const SOONEST = 15 * SECOND
const LATEST = 15 * MINUTE

/** `renewal`: `id` is the fingerprint of the certificate that asks, of a device under suspicion. */
export type ApprovalClaim = Pick<Claim, 'id' | 'actor'> & { readonly kind: Claim['kind'] | 'renewal' }

/** `address`: remote IP */
export type ApprovalAsk = {
  readonly claim: ApprovalClaim
  readonly group: EnrollmentGroup
  readonly deviceId: DeviceId
  readonly csr: Pick<CsrFacts, 'der' | 'spkiSha256'>
  readonly address: string
}

/** `approved`: go on, and complete the request `requestId`. `waiting`: come again in `retryAfter` seconds. */
export type Approval =
  | { readonly state: 'approved'; readonly requestId: string }
  | { readonly state: 'waiting'; readonly requestId: string; readonly retryAfter: number }

export interface Approvals {
  /** Before others are asked: would a new request be taken in? @throws `quota_exceeded`, `token_spent`, `registry_unavailable` */
  check(ask: Omit<ApprovalAsk, 'csr'>): Promise<void>
  /** @throws `enrollment_denied`, `quota_exceeded`, `token_spent`, `device_id_mismatch`, `conflict` (it waits in another group), `registry_unavailable` */
  decide(ask: ApprovalAsk): Promise<Approval>
}

/** How the registry knows who asks: also for hasOpenRequest. Who has no credential is one per group and key. */
export const requestCredential = (
  { kind, id }: Pick<ApprovalClaim, 'kind' | 'id'>,
  group: string,
  deviceId: DeviceId,
): EnrollmentRequest['credential'] => {
  if (kind === 'approval') return { kind: 'none', id: group }
  return { kind, id: kind === 'allow_list' ? deviceId : id }
}

type Kind = EnrollmentRequest['credential']['kind']

const STRANGERS: readonly Kind[] = ['none']
const UNPROVED: readonly Kind[] = ['none', 'allow_list']

/** Who may come into the queue of this group beside those. */
const sharesOf = ({ credentials, onClone, quotas }: EnrollmentGroup): RequestLimits['ofKinds'] => {
  const proved =
    onClone === 'approval' || credentials.some((kind) => kind === 'token' || kind === 'bootstrap')
  const most = (share: number): number => Math.ceil(quotas.openRequests * share)
  return [
    ...(proved || credentials.includes('allow_list')
      ? [{ kinds: STRANGERS, most: most(SHARE_OF_STRANGERS) }]
      : []),
    ...(proved ? [{ kinds: UNPROVED, most: most(SHARE_OF_UNPROVED) }] : []),
  ]
}

/** How many certificates a credential may yield in all; a token says it itself. */
export const yieldOf = (kind: ApprovalClaim['kind'], { bootstrap }: EnrollmentGroup): number | undefined => {
  if (kind === 'bootstrap') return bootstrap?.certificatesPerCredential ?? 1
  return kind === 'allow_list' || kind === 'renewal' ? MOST_OF_ONE : undefined
}

/** Handed out beside another certificate, and taken back: what was approved came to nothing. */
const wasWithdrawn = ({ state, revocationReason, pendingUntil }: CertificateRecord): boolean =>
  state === 'revoked' && revocationReason === 'superseded' && pendingUntil !== undefined

/** What a use gave has ended: its credential gives no more for it, or as a further use, which is asked for like any. */
export const isOver = ({ state, notAfter }: CertificateRecord, now: number): boolean =>
  (state === 'live' || state === 'pending') && notAfter <= now

/** A quarter of the time that it has waited, within bounds. Seconds. */
const retryAfter = ({ createdAt }: EnrollmentRequest, now: number): number =>
  Math.ceil(Math.min(Math.max((now - createdAt) / 4, SOONEST), LATEST) / SECOND)

export const createApprovals = (deps: {
  readonly registry: Pick<Registry, 'openRequest' | 'findRequestOf' | 'checkRequestRoom' | 'findUse'>
  readonly clock: Clock
  readonly log?: Pick<Log, 'info'>
  /** undefined: {@link MOST_OF_ADDRESS} */
  readonly mostOfAddress?: number
  /** undefined: {@link MOST_OF_NETWORK} */
  readonly mostOfNetwork?: number
}): Approvals => {
  const { mostOfAddress = MOST_OF_ADDRESS, mostOfNetwork = MOST_OF_NETWORK } = deps
  const limitsOf = (
    { claim, group, address }: Omit<ApprovalAsk, 'csr'>,
    { kind }: EnrollmentRequest['credential'],
  ): RequestLimits => {
    const bounded = UNPROVED.includes(kind)
    const prefix = bounded ? networkOf(address) : undefined
    return {
      open: group.quotas.openRequests,
      ofKinds: sharesOf(group),
      addressKey: limitKey(address),
      ofAddress: bounded ? mostOfAddress : undefined,
      ofNetwork: prefix === undefined ? undefined : { prefix, most: mostOfNetwork },
      ofCredential: yieldOf(claim.kind, group),
    }
  }
  /**
   * What was asked before and still counts. One that is over, or whose certificate was fetched long ago, does not; nor a renewal's of which
   * the certificate was withdrawn, nor a token's of which it has expired.
   */
  const standing = async (
    credential: EnrollmentRequest['credential'],
    spkiSha256: string,
    now: number,
  ): Promise<EnrollmentRequest | undefined> => {
    const found = await deps.registry.findRequestOf(credential, spkiSha256)
    if (found === undefined || found.state === 'expired' || now >= found.expiresAt) return undefined
    if (found.state !== 'issued') return found
    const { kind, id } = credential
    if (kind !== 'renewal' && kind !== 'token') return found
    const by = kind === 'renewal' ? ({ kind: 'approval', id: found.id } as const) : ({ kind, id } as const)
    const use = await deps.registry.findUse(by, spkiSha256)
    if (use === undefined) return found
    return (kind === 'renewal' ? wasWithdrawn(use) : isOver(use, now)) ? undefined : found
  }

  const open = async (
    ask: ApprovalAsk,
    credential: EnrollmentRequest['credential'],
    now: number,
  ): Promise<EnrollmentRequest> => {
    const { claim, group, deviceId, csr, address } = ask
    const id = newId()
    const request = await deps.registry.openRequest(
      {
        id,
        group: group.name,
        deviceId,
        spkiSha256: csr.spkiSha256,
        csr: csr.der,
        credential,
        address,
        createdAt: now,
        expiresAt: now + REQUEST_LIFE,
      },
      limitsOf(ask, credential),
      claim.actor,
    )
    if (request.id === id)
      deps.log?.info(
        { request: id, device_id: deviceId, group: group.name, kind: credential.kind },
        'an enrolment waits for an operator: sallyport request ls',
      )
    return request
  }

  return {
    async check(ask) {
      const { claim, group, deviceId } = ask
      const credential = requestCredential(claim, group.name, deviceId)
      await deps.registry.checkRequestRoom({ group: group.name, credential }, limitsOf(ask, credential))
    },
    async decide(ask) {
      const now = deps.clock()
      const { claim, group, deviceId, csr } = ask
      const credential = requestCredential(claim, group.name, deviceId)
      // the read first: who comes again costs no write
      const request = (await standing(credential, csr.spkiSha256, now)) ?? (await open(ask, credential, now))
      if (request.deviceId !== deviceId)
        throw new FleetError(
          'device_id_mismatch',
          'this key was shown to the operator under another device id',
        )
      if (request.group !== group.name)
        throw new FleetError('conflict', 'this key was shown to the operator in another group')
      if (request.state === 'denied')
        throw new FleetError('enrollment_denied', 'an operator has denied this enrolment')
      if (request.state === 'waiting')
        return { state: 'waiting', requestId: request.id, retryAfter: retryAfter(request, now) }
      // `issued`: the answer was lost, and the registry hands out what it has
      return { state: 'approved', requestId: request.id }
    },
  }
}

/** Ends requests whose time is over, and forgets old ones, until disposed. @param o.every ms; for tests */
export const expireRequests = (o: {
  readonly registry: Pick<Registry, 'expireRequests'>
  readonly clock: Clock
  readonly log: Log
  readonly every?: number
}): AsyncDisposable =>
  repeatedly(async () => {
    const now = o.clock()
    await o.registry
      .expireRequests(now, now - KEPT)
      .catch((err: unknown) => o.log.warn({ err }, 'old enrolment requests were not expired'))
  }, o.every ?? HOUR)
