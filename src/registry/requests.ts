/** MEMORY of enrolments that an operator decides. A part of {@link Registry}. */

import type { Actor, EnrollmentRequest, RequestState } from '#fleet/credentials.ts'
import type { Page, Paged } from './page.ts'

/** Without its CSR, which only the signing needs. */
export type RequestSummary = Omit<EnrollmentRequest, 'csr'>

/** How many may wait at once. `ofAddress`: of those that came from `addressKey`; undefined: no limit. */
export type RequestLimits = {
  readonly open: number
  readonly addressKey: string
  readonly ofAddress: number | undefined
}

/** A request past its expiresAt is `expired` to every verb, also before {@link RequestMemory.expireRequests} has come to it. */
export interface RequestMemory {
  /**
   * The open request (`waiting` or `approved`) of this credential and key when there is one, else the denied one of it that has not
   * expired, else a new one, made at its createdAt. @throws `quota_exceeded`: as many as the limits allow are waiting; `conflict`: the id
   * is taken
   */
  openRequest(
    request: Omit<EnrollmentRequest, 'state' | 'decidedAt' | 'decidedBy'>,
    limits: RequestLimits,
    actor: Actor,
  ): Promise<EnrollmentRequest>
  findRequest(id: string): Promise<EnrollmentRequest | undefined>
  /** The newest request of a credential and key, whatever its state. */
  findRequestOf(
    credential: EnrollmentRequest['credential'],
    spkiSha256: string,
  ): Promise<EnrollmentRequest | undefined>
  /** Has this credential any request that waits or was approved? Then it is still listened to after its own end. */
  hasOpenRequest(credential: EnrollmentRequest['credential']): Promise<boolean>
  /** Oldest first. */
  listRequests(
    page: Page & { readonly state?: RequestState | undefined; readonly group?: string | undefined },
  ): Promise<Paged<RequestSummary>>
  /**
   * `waiting` → `approved` or `denied`, with audit; its expiresAt moves, so that the decision stands for as long as it could have
   * waited. Repeating it changes nothing (`issued` was approved); the other way round, or once it has expired, is `conflict`.
   * undefined: no such request
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
