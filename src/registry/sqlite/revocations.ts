/** Single certificates: asked for by serial, found, revoked; and a group, part by part. Not the list: certificate-list.ts. Not the CRLs: issuers.ts. */

import type { CertificateState } from '#fleet/certificate.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { DEVICE_STATES, mayMove } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { RevocationMemory, RevokedSerial, SerialStatus } from '../revocations.ts'
import { createCertificateList } from './certificate-list.ts'
import { CUT_AT } from './cuts.ts'
import { COMPROMISE_KEY, createEnding } from './ending.ts'
import { asFleetError } from './failures.ts'
import { type CertificateRow, SELECT_CERTIFICATE, toCertificate } from './rows.ts'
import type { Tools } from './verbs.ts'

/** SQL: the states that an operator revokes no device from. */
const NOT_REVOKED_FROM = DEVICE_STATES.filter((state) => !mayMove(state, 'revoked', 'operator'))
  .map((state) => `'${state}'`)
  .join(', ')

type StatusRow = {
  readonly state: CertificateState
  readonly revokedAt: number | null
  readonly reason: RevocationReason | null
  readonly suspendedSince: number | null
  readonly issuerRevokedAt: number | null
}

type Revoked = { readonly revokedAt: number; readonly reason: RevocationReason }

export const revocationVerbs = (tools: Tools): RevocationMemory => {
  const { database, journal, write, read } = tools
  // `+?` as in doors.ts. Few devices are suspended, so the index of those is asked and not the fleet
  const revokedIssuer = database.prepare<[string], Revoked>(
    "select revoked_at as revokedAt, revocation_reason as reason from issuers where ski = +? and state = 'revoked'",
  )
  const stray = database.prepare<[string, string], Revoked & { readonly notAfter: number }>(
    'select revoked_at as revokedAt, reason, not_after as notAfter from revoked_serials where issuer_ski = ? and serial = ?',
  )
  const keepStray = database.prepare(`
    insert into revoked_serials (issuer_ski, serial, not_after, revoked_at, reason) values (:issuerSki, :serial, :notAfter, :revokedAt, :reason)
    on conflict (issuer_ski, serial) do update set not_after = excluded.not_after, reason = excluded.reason`)
  const raiseLastExpiry = database.prepare(
    'update issuers set last_expiry = max(coalesce(last_expiry, 0), ?) where ski = ?',
  )
  const statusBySerial = database.prepare<[string, string], StatusRow>(`
    select c.state, c.revoked_at as revokedAt, c.revocation_reason as reason, d.state_since as suspendedSince,
      (select revoked_at from issuers where ski = c.issuer_ski) as issuerRevokedAt
    from certificates c left join devices d indexed by devices_inactive
      on d.state <> 'active' and d.state = 'suspended' and d.id = c.device_id
    where c.serial = +? and c.issuer_ski = +?`)
  const find = database.prepare<[string], CertificateRow>(`${SELECT_CERTIFICATE} where serial = +?`)
  const revoke = database.prepare(`
    update certificates set state = 'revoked', revoked_at = coalesce(revoked_at, :now), revocation_reason = :reason
    where serial = +:serial`)
  const compromise = database.prepare(COMPROMISE_KEY)
  const revise = database.prepare('update devices set revision = revision + 1 where id = ?')
  const newRevocation = database.prepare(
    'update issuers set revocation_version = revocation_version + 1 where ski = ?',
  )
  const standing = database
    .prepare<[string, string, number], DeviceId>(
      `select id from devices where group_name = ? and id > ? and state not in (${NOT_REVOKED_FROM}) order by id limit ?`,
    )
    .pluck()
  const endDevice = database.prepare(
    `update devices set state = 'revoked', state_since = ?, ${CUT_AT}, revision = revision + 1 where id = ?`,
  )
  const end = createEnding(tools)
  const isTaken = database.prepare<[string], 1>('select 1 from certificates where serial = ?').pluck()
  const isIssuer = database.prepare<[string], 1>('select 1 from issuers where ski = ?').pluck()

  const statusOf = (issuerSki: string, serial: string): SerialStatus => {
    const row = statusBySerial.get(serial, issuerSki)
    if (row?.state === 'revoked')
      return {
        status: 'revoked',
        revokedAt: row.revokedAt as number,
        reason: row.reason as RevocationReason,
      }
    const known = row !== undefined && row.state !== 'intended'
    const strayed = known ? undefined : stray.get(issuerSki, serial)
    if (strayed !== undefined)
      return { status: 'revoked', revokedAt: strayed.revokedAt, reason: strayed.reason }
    // of any serial: whoever has its key signs without our record (RFC 6960 §2.7)
    const issuer = row?.issuerRevokedAt === null ? undefined : revokedIssuer.get(issuerSki)
    if (issuer !== undefined) return { status: 'revoked', ...issuer }
    if (!known) return { status: 'unknown' }
    return row.suspendedSince === null
      ? { status: 'good' }
      : { status: 'revoked', revokedAt: row.suspendedSince, reason: 'certificateHold' }
  }

  const found = (serial: string) => {
    const row = find.get(serial)
    return row === undefined || row.state === 'intended' ? undefined : toCertificate(row)
  }

  return {
    serialStatus: (issuerSki, serial) => {
      try {
        return statusOf(issuerSki, serial)
      } catch (error) {
        throw asFleetError(error)
      }
    },
    recordResponder: ({ serial, issuerSki, spkiSha256, notBefore, notAfter }, now) =>
      write(() => {
        if (isIssuer.get(issuerSki) === undefined) throw new FleetError('not_found', `no issuer ${issuerSki}`)
        if (isTaken.get(serial) !== undefined) throw new FleetError('conflict', 'the serial is taken')
        const details = {
          issuer_ski: issuerSki,
          spki_sha256: spkiSha256,
          not_before: notBefore,
          not_after: notAfter,
        }
        journal.audit({
          at: now,
          actor: 'system',
          action: 'ocsp_responder.reserved',
          subject: serial,
          details,
        })
      }),
    findCertificate: (serial) => read(() => found(serial)),
    listCertificates: createCertificateList(database, read),
    revokeCertificate: (serial, reason, now, actor) =>
      write(() => {
        const before = found(serial)
        if (before === undefined) return undefined
        const { deviceId, issuerSki, spkiSha256, revocationReason } = before
        const late = before.state === 'revoked'
        const compromised = reason === 'keyCompromise'
        const keys = compromised ? compromise.run({ spki: spkiSha256, deviceId, now }).changes : 0
        // a compromise that is learnt late replaces a lesser reason; the date stays
        if (late && (!compromised || (revocationReason === 'keyCompromise' && keys === 0))) return before
        revoke.run({ serial, reason, now })
        revise.run(deviceId)
        newRevocation.run(issuerSki)
        const action = late ? 'certificate.key_compromised' : 'certificate.revoked'
        const details = { device_id: deviceId, issuer_ski: issuerSki, reason, keys }
        journal.audit({ at: now, actor, action, subject: serial, details })
        journal.change({ kind: 'device', deviceId })
        return found(serial)
      }),
    revokeSerial: ({ issuerSki, serial, notAfter, reason, now, actor }) =>
      write(() => {
        if (isIssuer.get(issuerSki) === undefined) throw new FleetError('not_found', `no issuer ${issuerSki}`)
        const row = find.get(serial)
        const ours = row?.issuer_ski === issuerSki ? row : undefined
        if (ours !== undefined && ours.state !== 'intended')
          throw new FleetError('conflict', 'a certificate with this serial is on record')
        const known = stray.get(issuerSki, serial)
        const graver = known === undefined || (reason === 'keyCompromise' && known.reason !== 'keyCompromise')
        const kept: RevokedSerial = {
          issuerSki,
          serial,
          notAfter: Math.max(known?.notAfter ?? notAfter, notAfter),
          revokedAt: known?.revokedAt ?? now,
          reason: graver ? reason : known.reason,
        }
        if (known !== undefined && !graver && kept.notAfter === known.notAfter) return kept
        if (ours === undefined) keepStray.run(kept)
        // its request, should it come again, is refused; its device is not touched
        else revoke.run({ serial, reason, now })
        raiseLastExpiry.run(kept.notAfter, issuerSki)
        newRevocation.run(issuerSki)
        const details = {
          issuer_ski: issuerSki,
          reason: kept.reason,
          not_after: kept.notAfter,
          intended: ours !== undefined,
        }
        journal.audit({ at: now, actor, action: 'serial.revoked', subject: serial, details })
        return kept
      }),
    revokeGroupPart: ({ group, after, limit, reason, now, actor }) =>
      write(() => {
        const ids = standing.all(group, after ?? '', limit)
        const touched = new Set<string>()
        for (const id of ids) {
          endDevice.run(now, now, id)
          const { details, issuers } = end(id, reason, now)
          for (const ski of issuers) touched.add(ski)
          journal.audit({ at: now, actor, action: 'device.revoked', subject: id, details })
          journal.change({ kind: 'device', deviceId: id })
        }
        for (const ski of touched) newRevocation.run(ski)
        return { revoked: ids.length, next: ids.length < limit ? undefined : ids.at(-1) }
      }),
  }
}
