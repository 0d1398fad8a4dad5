/**
 * Whether one enrolment more may wait for an operator: of a group, of those in it who prove little, of an address and its network, of one
 * credential. Checks only, for inside and outside of a transaction. Not what a certificate may be one too many of: quotas.ts.
 */

import { HOUR, SECOND } from '#fleet/clock.ts'
import type { EnrollmentRequest } from '#fleet/credentials.ts'
import type { RequestLimits } from '../requests.ts'
import type { Handle } from './handle.ts'
import { refuse } from './refusals.ts'

type Credential = EnrollmentRequest['credential']

/** An operator may have looked by then. */
const LATER = HOUR / SECOND

export type RequestChecks = {
  /** @throws FleetError `token_spent`, `quota_exceeded`: it yields no certificate more. @returns how many it does */
  checkUses(credential: Credential, most: number | undefined): number
  /** @throws FleetError `quota_exceeded`, and those of checkUses */
  checkRoom(of: Pick<EnrollmentRequest, 'group' | 'credential'>, limits: RequestLimits, now: number): void
}

export const createRequestChecks = (database: Handle): RequestChecks => {
  const tokenUses = database
    .prepare<[string], number>('select uses - used from claim_tokens where id = ?')
    .pluck()
  const bootstrapUses = database
    .prepare<[string], number>('select used from bootstrap_uses where credential = ?')
    .pluck()
  const openOf = database
    .prepare<[string, string, number], number>(
      `select count(*) from enrollment_requests
       where credential_kind = ? and credential = ? and state in ('waiting', 'approved') and expires_at > ?`,
    )
    .pluck()
  // the index has its rows by kind
  const waitingIn = database.prepare<[string, number], { kind: Credential['kind']; count: number }>(
    `select credential_kind as kind, count(*) as count from enrollment_requests
     where group_name = ? and state = 'waiting' and expires_at > ? group by credential_kind`,
  )
  const waitingFrom = database
    .prepare<[string, number], number>(
      "select count(*) from enrollment_requests where address_key = ? and state = 'waiting' and expires_at > ?",
    )
    .pluck()
  const waitingAmong = database
    .prepare<[{ from: string; to: string; now: number }], number>(
      `select count(*) from enrollment_requests
       where address_key >= :from and address_key < :to and state = 'waiting' and expires_at > :now`,
    )
    .pluck()

  const checkUses = ({ kind, id }: Credential, most: number | undefined): number => {
    if (kind === 'token') {
      // one that is not on record makes nothing, and the reservation says so
      const left = tokenUses.get(id) ?? Infinity
      if (left < 1) refuse('token_spent', 'the token has no uses left')
      return left
    }
    if (most === undefined) return Infinity
    if (kind !== 'bootstrap') return most
    const left = most - (bootstrapUses.get(id) ?? 0)
    if (left < 1)
      refuse(
        'quota_exceeded',
        `the bootstrap certificate has yielded ${most} certificates and may yield no more`,
      )
    return left
  }

  return {
    checkUses,
    checkRoom: ({ group, credential }, limits, now) => {
      const { open, ofKinds = [], addressKey, ofAddress, ofNetwork, ofCredential } = limits
      const left = checkUses(credential, ofCredential)
      if (left < Infinity && (openOf.get(credential.kind, credential.id, now) ?? 0) >= left)
        refuse('quota_exceeded', 'as many enrolments by this credential wait as it may yet make', LATER)
      const waiting = new Map(waitingIn.all(group, now).map(({ kind, count }) => [kind, count]))
      const sum = (kinds: Iterable<Credential['kind']>): number =>
        [...kinds].reduce((all, kind) => all + (waiting.get(kind) ?? 0), 0)
      const isFull = ofKinds.some(({ kinds, most }) => kinds.includes(credential.kind) && sum(kinds) >= most)
      if (isFull || sum(waiting.keys()) >= open)
        refuse('quota_exceeded', 'too many enrolments of this group wait for an operator', LATER)
      if (ofAddress !== undefined && (waitingFrom.get(addressKey, now) ?? 0) >= ofAddress)
        refuse('quota_exceeded', 'too many enrolments from your address wait for an operator', LATER)
      if (ofNetwork === undefined) return
      const { prefix: from, most } = ofNetwork
      if ((waitingAmong.get({ from, to: `${from}\u{10FFFF}`, now }) ?? 0) >= most)
        refuse('quota_exceeded', 'too many enrolments from your network wait for an operator', LATER)
    },
  }
}
