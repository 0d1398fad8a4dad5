/**
 * Issuance, its second half: what was signed goes on record, `live` or `pending`, before anybody is given it (docs/issuance-cycle.md). Not
 * the reservation before the signature: issuance.ts. Not what it does to the other certificates of the device: slots.ts.
 */

import { isStanding, type CertificateRecord, type IssuerState } from '#fleet/certificate.ts'
import type { Actor } from '#fleet/credentials.ts'
import { refuse } from './refusals.ts'
import { type CertificateRow, type DeviceRow, toCertificate } from './rows.ts'
import type { Slots } from './slots.ts'
import type { Tools } from './verbs.ts'

/** A certificate, and what has become of its issuer. */
export type Used = CertificateRow & { readonly issuer_state: IssuerState }

/** @returns `recordCertificate`, for within a transaction. It throws FleetError */
export const createRecording = ({
  database,
  journal,
  slots,
  findCertificate,
}: Pick<Tools, 'database' | 'journal'> & {
  readonly slots: Slots
  readonly findCertificate: (serial: string) => Used | undefined
}) => {
  const standingOf = database.prepare<[string], Pick<DeviceRow, 'state' | 'expires_at'>>(
    'select state, expires_at from devices where id = ?',
  )
  const revise = database.prepare('update devices set revision = revision + 1 where id = ?')
  const supersededBy = database
    .prepare<[string], string | null>('select superseded_by from certificates where serial = ?')
    .pluck()
  const wasApproved = database
    .prepare<[number], 1>(
      `select 1 from certificates c join certificates p on p.serial = c.predecessor
       where c.number = +? and exists
         (select 1 from enrollment_requests where credential_kind = 'renewal' and credential = p.fingerprint
          and spki_sha256 = c.spki_sha256 and state = 'issued')`,
    )
    .pluck()
  const goLive = database.prepare(
    "update certificates set state = 'live', pending_until = null, fingerprint = ? where number = ?",
  )
  const goPending = database.prepare(
    "update certificates set state = 'pending', fingerprint = ? where number = ?",
  )
  const keepBytes = database.prepare('insert into certificate_bytes (number, der) values (?, ?)')

  /** Something else has come in the place of the certificate that it renews; an operator may have wanted both. */
  const isOutrun = (row: Used, predecessor: string): boolean => {
    const successor = slots.successorOf(supersededBy.get(predecessor) ?? null)
    return (
      successor !== undefined && successor.serial !== row.serial && wasApproved.get(row.number) === undefined
    )
  }

  return (
    serial: string,
    fingerprint: string,
    der: Uint8Array,
    now: number,
    actor: Actor,
  ): CertificateRecord => {
    const row = findCertificate(serial) ?? refuse('not_found', 'there is no reservation of this serial')
    if (!isStanding(row.issuer_state))
      refuse('issuer_unusable', 'the issuer has been revoked since the reservation')
    // the first writer wins: two requests may have signed the same reservation, and only one signature leaves the house
    if (row.state === 'live' || row.state === 'pending') return toCertificate(row)
    const device = standingOf.get(row.device_id) as Pick<DeviceRow, 'state' | 'expires_at'>
    if (row.state === 'revoked' || device.state !== 'active')
      refuse('certificate_revoked', `the device has become ${device.state} since the reservation`)
    if (row.predecessor !== null && isOutrun(row, row.predecessor))
      refuse('clone_suspected', 'this certificate has been renewed meanwhile, with another key')
    const others = device.expires_at !== null
    // who enrols anew may have nothing else that works, whatever is on record
    const pending = row.predecessor !== null && others && slots.hasUsable(row.device_id, now)
    keepBytes.run(row.number, der)
    journal.audit({
      at: now,
      actor,
      action: 'certificate.issued',
      subject: serial,
      details: {
        device_id: row.device_id,
        fingerprint,
        not_after: row.not_after,
        issuer_ski: row.issuer_ski,
        ...(pending ? { pending: true } : {}),
      },
    })
    if (pending) {
      goPending.run(fingerprint, row.number)
      // here and not in the reservation: until this one is on record, the earlier one must go on being good
      slots.overtake(row, now)
      revise.run(row.device_id)
      return { ...toCertificate(row), state: 'pending', fingerprint, der }
    }
    goLive.run(fingerprint, row.number)
    slots.settle(row, others, now, actor)
    return { ...toCertificate(row), state: 'live', pendingUntil: undefined, fingerprint, der }
  }
}
