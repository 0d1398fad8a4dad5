/**
 * Credentials as the registry sees them at the moment of a reservation: is each still good, what has it been used for, what does one use of
 * it cost. Not the device, the key and the limits: those are the same for all, in issuance.ts.
 *
 * Refusals, in the order they are looked for: enrollment_denied, token_invalid, token_revoked, token_expired, certificate_unknown,
 * device_id_mismatch, device_suspended and its kin, certificate_pending, certificate_revoked, key_compromised, certificate_expired; and for a new use
 * token_spent, quota_exceeded, clone_suspected.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { RequestState } from '#fleet/credentials.ts'
import type { Reservation } from '../registry.ts'
import type { Handle } from './handle.ts'
import type { Quotas } from './quotas.ts'
import type { KeyRow } from './keys.ts'
import { refuse, refuseState } from './refusals.ts'
import { type CertificateSummaryRow, type ClaimTokenRow, type DeviceRow, SELECT_SUMMARY } from './rows.ts'
import type { Slots, Successor } from './slots.ts'

type RequestRow = {
  readonly id: string
  readonly state: RequestState
  readonly group_name: string
  readonly device_id: DeviceId
  readonly spki_sha256: string
  readonly credential_kind: 'token' | 'bootstrap' | 'allow_list' | 'none' | 'renewal'
  readonly credential: string
  readonly created_at: number
  readonly expires_at: number
}

type TokenRow = Pick<ClaimTokenRow, 'number' | 'device_id' | 'uses' | 'used' | 'expires_at' | 'revoked_at'>

/** What a credential is good for. */
export type Standing = {
  /**
   * `new`: for ids that nobody has yet. `listed`: for one that was registered. `bound`: also for a device that exists. `revives`: even for
   * one that was revoked. `holder`: for the device that it is a certificate of.
   */
  readonly serves: 'new' | 'listed' | 'bound' | 'revives' | 'holder'
  /** of the certificate that is renewed */
  readonly predecessor: string | undefined
  /** what came in the place of that certificate, if anything did */
  readonly successor?: Successor | undefined
  /** by an expired certificate */
  readonly late: boolean
  /** Of a new use. @param again by the key of one whose certificate has expired. @throws FleetError: it has none left, or may have no further one */
  readonly check: (again?: boolean) => void
  readonly spend: () => void
}

/** A use is (kind, this, key). */
export const credentialOf = ({ credential, deviceId }: Reservation): string =>
  credential.kind === 'renewal'
    ? credential.fingerprint
    : credential.kind === 'allow_list'
      ? deviceId
      : credential.id

const nothing = (): void => undefined

export type CredentialChecks = {
  /** @throws FleetError: it is not good, whatever it was used for before */
  stand(r: Reservation): Standing
  /** Of a new use, a further one too. @throws FleetError `enrollment_denied`: an operator's yes is needed and is not there, or was used */
  checkRequest(r: Reservation): void
  /** The approved request is `issued` from now on. */
  closeRequest(r: Reservation): void
}

export const createCredentialChecks = ({
  database,
  quotas,
  findDevice,
  findKey,
  successorOf,
}: {
  readonly database: Handle
  readonly quotas: Quotas
  readonly findDevice: (id: string) => DeviceRow | undefined
  readonly findKey: (spkiSha256: string) => KeyRow | undefined
  readonly successorOf: Slots['successorOf']
}): CredentialChecks => {
  const findToken = database.prepare<[string], TokenRow>(
    'select number, device_id, uses, used, expires_at, revoked_at from claim_tokens where id = ?',
  )
  const spend = database.prepare('update claim_tokens set used = used + 1 where number = ?')
  const findByFingerprint = database.prepare<[string], CertificateSummaryRow>(
    `${SELECT_SUMMARY} where fingerprint = +?`,
  )
  const findRequest = database.prepare<[string], RequestRow>(
    `select id, state, group_name, device_id, spki_sha256, credential_kind, credential, created_at, expires_at
     from enrollment_requests where id = ?`,
  )
  const close = database.prepare("update enrollment_requests set state = 'issued' where id = ?")

  const requestIdOf = ({ credential, requestId }: Reservation): string | undefined =>
    credential.kind === 'approval' ? credential.id : requestId

  /** What was approved, and nothing else: this device, in this group, this key, by this credential. */
  const requestOf = (r: Reservation): RequestRow | undefined => {
    const id = requestIdOf(r)
    if (id === undefined) return undefined
    const request = findRequest.get(id)
    const { credential } = r
    const same =
      request !== undefined &&
      request.device_id === r.deviceId &&
      request.group_name === r.group &&
      request.spki_sha256 === r.spkiSha256 &&
      (credential.kind === 'approval'
        ? request.credential_kind === 'none' || request.credential_kind === 'renewal'
        : request.credential_kind === credential.kind &&
          (credential.kind === 'allow_list' || request.credential === credentialOf(r)))
    if (request === undefined || !same)
      return refuse('enrollment_denied', 'nothing was approved for this request')
    if (request.state !== 'approved' && request.state !== 'issued')
      refuse('enrollment_denied', `the request is ${request.state}`)
    return request
  }

  const byToken = (r: Reservation, id: string, request: RequestRow | undefined): Standing => {
    const token = findToken.get(id) ?? refuse('token_invalid', 'there is no such token')
    if (token.revoked_at !== null) refuse('token_revoked', 'the token has been revoked')
    // who asked in time does not lose by an operator who takes his time
    const ended = token.expires_at <= r.now
    if (ended && !(request !== undefined && request.created_at < token.expires_at))
      refuse('token_expired', 'the token has expired')
    if (token.device_id !== null && token.device_id !== r.deviceId)
      refuse('device_id_mismatch', 'the token is bound to another device id')
    return {
      serves: token.device_id === null ? 'new' : 'revives',
      predecessor: undefined,
      late: false,
      check: (again = false) => {
        // what was approved it has given already
        if (ended && request?.state === 'issued') refuse('token_expired', 'the token has expired')
        if (token.used < token.uses) return
        // else whoever stands at the device looks for a thief
        refuse(
          'token_spent',
          again
            ? 'the certificate of this use has expired, and the token has no uses left'
            : 'the token has no uses left',
        )
      },
      spend: () => {
        spend.run(token.number)
      },
    }
  }

  const byCertificate = (
    r: Reservation,
    fingerprint: string,
    o: { readonly late: boolean; readonly approved: boolean },
  ): Standing => {
    const current =
      findByFingerprint.get(fingerprint) ?? refuse('certificate_unknown', 'the certificate is not on record')
    if (current.device_id !== r.deviceId)
      refuse('device_id_mismatch', 'the certificate belongs to another device')
    // before the certificate's own state: of a revoked device it is revoked too, but the device's is the better word
    const device = findDevice(r.deviceId)
    if (device !== undefined) refuseState(device.state)
    if (device?.state !== 'active') refuse('certificate_unknown', 'the device has not enrolled')
    if (current.state === 'pending')
      refuse('certificate_pending', 'a certificate is used or confirmed before it is renewed')
    if (current.state !== 'live') refuse('certificate_revoked', 'the certificate has been revoked')
    // whoever has the key that was stolen is not to buy a clean one with it
    if ((findKey(current.spki_sha256)?.compromised_at ?? null) !== null)
      refuse(
        'key_compromised',
        'the key of the certificate has been reported compromised; use a token bound to the device id',
      )
    const late = r.now > current.not_after
    if (late && !o.late) refuse('certificate_expired', 'the certificate has expired')
    const successor = successorOf(current.superseded_by)
    return {
      serves: 'holder',
      predecessor: current.serial,
      successor,
      late,
      check: () => {
        // The use with the successor's own key is known, and does not come here.
        if (successor !== undefined && !o.approved)
          refuse('clone_suspected', 'this certificate was renewed before, with another key')
      },
      spend: nothing,
    }
  }

  const stand = (r: Reservation): Standing => {
    const { credential } = r
    const request = requestOf(r)
    switch (credential.kind) {
      case 'token':
        return byToken(r, credential.id, request)
      case 'renewal':
        return byCertificate(r, credential.fingerprint, {
          late: credential.late,
          approved: request !== undefined,
        })
      case 'bootstrap':
        return {
          serves: credential.bound ? 'bound' : 'new',
          predecessor: undefined,
          late: false,
          check: () => quotas.checkBootstrap(credential.id, credential.uses),
          spend: () => quotas.countBootstrap(credential.id),
        }
      case 'allow_list':
        return { serves: 'listed', predecessor: undefined, late: false, check: nothing, spend: nothing }
      case 'approval':
        return request?.credential_kind === 'renewal'
          ? byCertificate(r, request.credential, { late: true, approved: true })
          : { serves: 'new', predecessor: undefined, late: false, check: nothing, spend: nothing }
    }
  }

  return {
    stand,
    checkRequest: (r) => {
      const request = requestOf(r)
      if (request === undefined) return
      if (request.state !== 'approved') refuse('enrollment_denied', `the request is ${request.state}`)
      if (request.expires_at <= r.now) refuse('enrollment_denied', 'the request has expired')
    },
    closeRequest: (r) => {
      const id = requestIdOf(r)
      if (id !== undefined) close.run(id)
    },
  }
}
