/** MEMORY of enrolments that an operator decides. A part of {@link Registry}. */

import type { Actor, EnrollmentRequest, RequestState } from '#fleet/credentials.ts'
import type { Page, Paged } from './page.ts'

/** Without its CSR, which only the signing needs. */
export type RequestSummary = Omit<EnrollmentRequest, 'csr'>

type Credential = EnrollmentRequest['credential']

/** How many may wait at once; undefined: no limit. */
export type RequestLimits = {
  /** in the group */
  readonly open: number
  /** in the group, with a credential of one of `kinds` */
  readonly ofKinds?:
    readonly { readonly kinds: readonly Credential['kind'][]; readonly most: number }[] | undefined
  /** kept with the request */
  readonly addressKey: string
  /** of those that came from `addressKey` */
  readonly ofAddress: number | undefined
  /** of those of which the addressKey begins with `prefix` */
  readonly ofNetwork?: { readonly prefix: string; readonly most: number } | undefined
  /**
   * How many certificates the credential may yield in all. Waiting and approved requests together are never more than it has left. A token
   * has its own number, whatever is said here.
   */
  readonly ofCredential?: number | undefined
}

/** A request past its expiresAt is `expired` to every verb, also before {@link RequestMemory.expireRequests} has come to it. */
export interface RequestMemory {
  /**
   * The open request (`waiting` or `approved`) of this credential and key when there is one, else the denied one of it that has not
   * expired, else a new one, made at its createdAt. @throws `quota_exceeded`: as many as the limits allow are waiting, or the credential
   * yields nothing more; `token_spent`; `conflict`: the id is taken
   */
  openRequest(
    request: Omit<EnrollmentRequest, 'state' | 'decidedAt' | 'decidedBy'>,
    limits: RequestLimits,
    actor: Actor,
  ): Promise<EnrollmentRequest>
  /** Before others are asked: what {@link RequestMemory.openRequest} would refuse of a new one now. @throws as it does */
  checkRequestRoom(of: Pick<EnrollmentRequest, 'group' | 'credential'>, limits: RequestLimits): Promise<void>
  /** Has the credential any use left? @param most RequestLimits.ofCredential. @throws `token_spent`, `quota_exceeded` */
  checkUsesLeft(credential: Credential, most: number | undefined): Promise<void>
  findRequest(id: string): Promise<EnrollmentRequest | undefined>
  /** The newest request of a credential and key, whatever its state. */
  findRequestOf(
    credential: EnrollmentRequest['credential'],
    spkiSha256: string,
  ): Promise<EnrollmentRequest | undefined>
  /**
   * Has this credential any request that waits, was approved, or was issued and could still be asked for again? Then it is still listened to
   * after its own end.
   */
  hasOpenRequest(credential: EnrollmentRequest['credential']): Promise<boolean>
  /** Oldest first. */
  listRequests(
    page: Page & { readonly state?: RequestState | undefined; readonly group?: string | undefined },
  ): Promise<Paged<RequestSummary>>
  /**
   * `waiting` → `approved` or `denied`, and `approved` → `denied` as long as nothing was issued, with audit; its expiresAt moves, so that
   * the decision stands for as long as it could have waited. Repeating it changes nothing (`issued` was approved); anything else, or once
   * it has expired, is `conflict`. undefined: no such request
   */
  decideRequest(
    id: string,
    decision: 'approved' | 'denied',
    now: number,
    actor: Actor,
  ): Promise<EnrollmentRequest | undefined>
  /** Open ones past their expiresAt → `expired`, with audit; those that ended before `forgetBefore` are dropped. @returns how many changed */
  expireRequests(now: number, forgetBefore: number): Promise<number>
}
