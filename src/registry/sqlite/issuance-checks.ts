/**
 * What a reservation is held against beside its credential: the group as it is now, the device's own entry, the key, the issuer. Each is
 * looked at inside the transaction, and writes nothing. In which order is issuance.ts; credentials are credential-checks.ts.
 */

import type { IssuerState } from '#fleet/certificate.ts'
import { type DeviceState, mayMove, type Mover } from '#fleet/device.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { Reservation } from '../registry.ts'
import type { Standing } from './credential-checks.ts'
import type { Handle } from './handle.ts'
import type { KeyRow } from './keys.ts'
import type { Quotas } from './quotas.ts'
import { refuse, refuseState } from './refusals.ts'
import type { DeviceRow } from './rows.ts'

export type IssuerRow = { readonly state: IssuerState; readonly last_expiry: number | null }

export type IssuanceChecks = {
  checkGroup(r: Reservation): void
  checkMember(r: Reservation, device: DeviceRow): void
  checkKey(key: KeyRow | undefined, r: Reservation): void
  checkIssuer(ski: string): IssuerRow
  /** of an id that nobody has */
  checkNewDevice(r: Reservation, standing: Standing): void
  /** of a device that is here */
  checkDevice(r: Reservation, standing: Standing, device: DeviceRow): void
}

export const createIssuanceChecks = ({
  database,
  quotas,
  groups,
}: {
  readonly database: Handle
  readonly quotas: Quotas
  readonly groups: () => ReadonlyMap<string, EnrollmentGroup>
}): IssuanceChecks => {
  const findIssuer = database.prepare<[string], IssuerRow>(
    'select state, last_expiry from issuers where ski = ?',
  )

  /** A backend or an operator may have been asked since the group was looked at. Costs no statement. */
  const checkGroup = ({ group }: Reservation): void => {
    if (groups().get(group)?.enabled !== true)
      refuse('group_disabled', `the group ${group} is disabled, or gone`)
  }
  /** The same, of the device's own entry: it was another group that judged. */
  const checkMember = ({ group }: Reservation, device: DeviceRow): void => {
    if (device.group_name !== group)
      refuse('conflict', 'the device has come into another group meanwhile; ask again')
  }

  const checkKey = (key: KeyRow | undefined, { deviceId }: Reservation): void => {
    if (key === undefined) return
    if (key.compromised_at !== null) refuse('key_compromised', 'this key has been reported compromised')
    if (key.device_id !== deviceId) refuse('key_in_use', 'this key belongs to another device')
  }

  const checkIssuer = (ski: string): IssuerRow => {
    const issuer = findIssuer.get(ski)
    return issuer?.state === 'active'
      ? issuer
      : refuse('issuer_unusable', 'the issuer is not on record as active')
  }

  const checkNewDevice = (r: Reservation, standing: Standing): void => {
    if (standing.serves === 'listed' || r.limits.registeredOnly)
      refuse('device_not_registered', 'only devices that were registered before may enrol')
    if (r.limits.devices !== undefined) quotas.checkDevices(r.group, r.limits.devices)
  }

  /** A token that is bound to the id may do both. */
  const checkMove = (state: DeviceState, { serves }: Standing): void => {
    const movers: readonly Mover[] = serves === 'revives' ? ['enrolment', 'bound_token'] : ['enrolment']
    if (state === 'active' || movers.some((by) => mayMove(state, 'active', by))) return
    refuseState(state)
    // no state of today gets here: for one that is added
    refuse('conflict', `a device that is ${state} cannot become active`)
  }

  const checkDevice = (r: Reservation, standing: Standing, device: DeviceRow): void => {
    const { serves, late } = standing
    if (device.id !== r.deviceId) refuse('device_exists', `the id differs only in case from ${device.id}`)
    if (serves === 'holder') {
      if (late && device.late_renewals >= r.limits.expiredRenewals)
        refuse(
          'quota_exceeded',
          'the device has been renewed after its end too often in a row; enrol it again',
        )
      return
    }
    checkMove(device.state, standing)
    if (device.state === 'registered') {
      if (device.registered_spki !== null && device.registered_spki !== r.spkiSha256)
        refuse('credential_not_allowed', 'the device was registered with another key')
      return
    }
    if (serves === 'new')
      refuse('device_exists', 'this credential makes new devices only; use a token bound to this id')
    if (serves === 'listed') refuse('device_exists', 'the device has enrolled; use a token bound to this id')
  }

  return { checkGroup, checkMember, checkKey, checkIssuer, checkNewDevice, checkDevice }
}
