/** MEMORY of enrolments that an operator decides. A part of {@link Registry}. */

import type { Actor, EnrollmentRequest, RequestState } from '#fleet/credentials.ts'
import type { Page, Paged } from './page.ts'

export interface RequestMemory {
  /**
   * The open request (`waiting` or `approved`) of this credential and key when there is one, else the denied one of it that has not
   * expired, else a new one. @throws `quota_exceeded`: `mostOpen` of the group are waiting; `conflict`: the id is taken
   */
  openRequest(
    request: Omit<EnrollmentRequest, 'state' | 'decidedAt' | 'decidedBy'>,
    mostOpen: number,
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
  ): Promise<Paged<EnrollmentRequest>>
  /** `waiting` → `approved` or `denied`, with audit. Repeating it changes nothing; the other way round is `conflict`. undefined: no such request */
  decideRequest(
    id: string,
    decision: 'approved' | 'denied',
    now: number,
    actor: Actor,
  ): Promise<EnrollmentRequest | undefined>
  /** Open ones past their expiresAt → `expired`; decided ones older than `forgetBefore` are dropped. @returns how many changed */
  expireRequests(now: number, forgetBefore: number): Promise<number>
}
