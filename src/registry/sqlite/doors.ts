/** What the doors ask for each connection: the live status of a certificate, by its fingerprint. One prepared join. */

import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { IssuerRecord } from '#fleet/certificate.ts'
import type { LiveStatus } from '../registry.ts'
import type { Handle } from './handle.ts'
import { tagsOf } from './rows.ts'

type Row = {
  readonly serial: string
  readonly device_id: DeviceId
  readonly certificate_state: LiveStatus['certificateState']
  readonly not_before: number
  readonly not_after: number
  readonly device_state: DeviceState
  readonly group_name: string
  readonly tags: string
  readonly issuer_ski: string
  readonly issuer_state: IssuerRecord['state']
  readonly renew_at: number | null
  readonly clone_suspected_at: number | null
}

/** @returns a function that throws SqliteError. An `intended` certificate has no fingerprint, so it is never found. */
export const createStatus = (database: Handle): ((fingerprint: string) => LiveStatus | undefined) => {
  // `+?`: this SQLite has STAT4, and plans a join anew for each value that is bound to a bare `?` (31 µs instead of 10)
  const find = database.prepare<[string], Row>(`
    select c.serial, c.device_id, c.state as certificate_state, c.not_before, c.not_after,
           d.state as device_state, d.group_name, d.tags, c.issuer_ski, i.state as issuer_state,
           d.renew_at, d.clone_suspected_at
    from certificates c join devices d on d.id = c.device_id join issuers i on i.ski = c.issuer_ski
    where c.fingerprint = +?`)
  return (fingerprint) => {
    const row = find.get(fingerprint)
    return (
      row && {
        serial: row.serial,
        deviceId: row.device_id,
        certificateState: row.certificate_state,
        notBefore: row.not_before,
        notAfter: row.not_after,
        deviceState: row.device_state,
        group: row.group_name,
        tags: tagsOf(row.tags),
        issuerSki: row.issuer_ski,
        issuerState: row.issuer_state,
        renewAt: row.renew_at ?? undefined,
        cloneSuspected: row.clone_suspected_at !== null,
      }
    )
  }
}
