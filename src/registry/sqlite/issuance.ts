/**
 * Issuance: intent before the signature, record before the reply (docs/issuance-cycle.md says what a power cut leaves after each).
 * Only what must be checked inside the transaction; who may have a certificate is #policy/enrollment.ts.
 *
 * Refusals, in the order they are looked for: token_invalid, token_revoked, token_expired, device_id_mismatch, certificate_unknown,
 * certificate_revoked, device_suspended, device_retired, device_revoked, key_compromised, key_in_use, token_spent, device_exists,
 * rate_limited, issuer_unusable, conflict (the serial is taken).
 */

import type { CertificateRecord, IssuerRecord } from '#fleet/certificate.ts'
import type { Reservation, Reserved } from '../registry.ts'
import { refuse, refuseMore, refuseState } from './refusals.ts'
import {
  type CertificateRow,
  type ClaimTokenRow,
  DEVICE_COLUMNS,
  type DeviceRow,
  SELECT_CERTIFICATE,
  toCertificate,
} from './rows.ts'
import type { Tools, Verbs } from './verbs.ts'

/** TODO(V1) */
const MOST_USABLE = 10
const MOST_SUCCESSORS = 3

const credentialOf = ({ credential, deviceId }: Reservation): string =>
  credential.kind === 'renewal'
    ? credential.fingerprint
    : credential.kind === 'allow_list'
      ? deviceId
      : credential.id

/** What a new reservation leaves on record. */
const intended = (r: Reservation): CertificateRecord => ({
  serial: r.serial,
  deviceId: r.deviceId,
  issuerSki: r.issuerSki,
  spkiSha256: r.spkiSha256,
  state: 'intended',
  notBefore: r.notBefore,
  notAfter: r.notAfter,
  renewAt: r.renewAt,
  extras: r.extras,
  predecessor: undefined,
  supersededBy: undefined,
  pendingUntil: undefined,
  fingerprint: undefined,
  der: undefined,
  revokedAt: undefined,
  revocationReason: undefined,
})

type KeyRow = { readonly device_id: string; readonly compromised_at: number | null }

export const issuanceVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<
  'findKey' | 'findTokenUse' | 'reserve' | 'recordCertificate' | 'grantedTtl' | 'newestRecordedTime'
> => {
  const findToken = database.prepare<[string], ClaimTokenRow>('select * from claim_tokens where id = ?')
  const spend = database.prepare('update claim_tokens set used = used + 1 where id = ?')
  // also by an id that differs in case: see checkDevice
  const findDevice = database.prepare<[string], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where id = ?`,
  )
  const addDevice = database.prepare(`
    insert into devices (id, state, state_since, group_name, tags, created_at, revision)
    values (:id, 'active', :now, :group, :tags, :now, 1)`)
  const reactivate = database.prepare(
    "update devices set state = 'active', state_since = ?, revision = revision + 1 where id = ?",
  )
  const revise = database.prepare('update devices set revision = revision + 1 where id = ?')
  const findKey = database.prepare<[string], KeyRow>(
    'select device_id, compromised_at from device_keys where spki_sha256 = ?',
  )
  const addKey = database.prepare(
    'insert into device_keys (spki_sha256, device_id) values (?, ?) on conflict do nothing',
  )
  const issuerState = database
    .prepare<[string], IssuerRecord['state']>('select state from issuers where ski = ?')
    .pluck()
  const findCertificate = database.prepare<[string], CertificateRow>(
    `${SELECT_CERTIFICATE} where serial = +?`,
  )
  const findByFingerprint = database.prepare<[string], CertificateRow>(
    `${SELECT_CERTIFICATE} where fingerprint = +?`,
  )
  const isTaken = database.prepare<[string], 1>('select 1 from certificates where serial = ?').pluck()
  const intend = database.prepare(`
    insert into certificates (serial, device_id, issuer_ski, spki_sha256, state, not_before, not_after, ttl, renew_at, extras)
    values (:serial, :deviceId, :issuerSki, :spkiSha256, 'intended', :notBefore, :notAfter, :ttl, :renewAt, :extras)`)
  const usable = database
    .prepare<[string, number], number>(
      "select count(*) from certificates where device_id = +? and state <> 'revoked' and not_after > ?",
    )
    .pluck()
  const successors = database
    .prepare<[string], number>(
      "select count(*) from credential_uses where kind = 'renewal' and credential = ?",
    )
    .pluck()
  const ttlOf = database
    .prepare<[string], number>('select ttl from certificates where fingerprint = ?')
    .pluck()
  const abandon = database.prepare(
    "update certificates set state = 'revoked', revoked_at = ?, revocation_reason = 'superseded' where serial = ?",
  )
  const newRevocation = database.prepare(
    'update issuers set revocation_version = revocation_version + 1 where ski = ?',
  )
  const goLive = database.prepare("update certificates set state = 'live', fingerprint = ? where number = ?")
  const keepBytes = database.prepare('insert into certificate_bytes (number, der) values (?, ?)')
  const findUse = database
    .prepare<[string, string, string], string>(
      'select serial from credential_uses where kind = ? and credential = ? and spki_sha256 = ?',
    )
    .pluck()
  const addUse = database.prepare(`
    insert into credential_uses (kind, credential, spki_sha256, serial, used_at) values (?, ?, ?, ?, ?)
    on conflict (kind, credential, spki_sha256) do update set serial = excluded.serial, used_at = excluded.used_at`)
  const newest = database.prepare<[], number | null>('select max(at) from audit').pluck()

  const certificateBySerial = (serial: string) => {
    const row = findCertificate.get(serial)
    return row && toCertificate(row)
  }

  /** The credential by itself, without its use. @returns the token, or undefined for a renewal */
  const checkCredential = ({ credential, now, deviceId }: Reservation): ClaimTokenRow | undefined => {
    if (credential.kind === 'token') {
      const token = findToken.get(credential.id) ?? refuse('token_invalid', 'there is no such token')
      if (token.revoked_at !== null) refuse('token_revoked', 'the token has been revoked')
      if (token.expires_at <= now) refuse('token_expired', 'the token has expired')
      if (token.device_id !== null && token.device_id !== deviceId)
        refuse('device_id_mismatch', 'the token is bound to another device id')
      return token
    }
    if (credential.kind !== 'renewal') return refuse('internal', 'not built yet')
    const current =
      findByFingerprint.get(credential.fingerprint) ??
      refuse('certificate_unknown', 'the certificate is not on record')
    if (current.device_id !== deviceId)
      refuse('device_id_mismatch', 'the certificate belongs to another device')
    // before the certificate's own state: of a revoked device it is revoked too, but the device's is the better word
    refuseState((findDevice.get(deviceId) as DeviceRow).state)
    if (current.state !== 'live') refuse('certificate_revoked', 'the certificate has been revoked')
    return undefined
  }

  const checkKey = ({ spkiSha256, deviceId }: Reservation): void => {
    const key = findKey.get(spkiSha256)
    if (key === undefined) return
    if (key.compromised_at !== null) refuse('key_compromised', 'this key has been reported compromised')
    if (key.device_id !== deviceId) refuse('key_in_use', 'this key belongs to another device')
  }

  const checkIssuer = (ski: string): void => {
    if (issuerState.get(ski) !== 'active') refuse('issuer_unusable', 'the issuer is not on record as active')
  }

  const writeIntent = (r: Reservation): Reserved => {
    checkIssuer(r.issuerSki)
    if (isTaken.get(r.serial) !== undefined) refuse('conflict', 'the serial is taken')
    addKey.run(r.spkiSha256, r.deviceId)
    intend.run({
      serial: r.serial,
      deviceId: r.deviceId,
      issuerSki: r.issuerSki,
      spkiSha256: r.spkiSha256,
      notBefore: r.notBefore,
      notAfter: r.notAfter,
      ttl: r.ttl,
      renewAt: r.renewAt,
      extras: r.extras === undefined ? null : JSON.stringify(r.extras),
    })
    const { kind } = r.credential
    addUse.run(kind, credentialOf(r), r.spkiSha256, r.serial, r.now)
    journal.audit({
      at: r.now,
      actor: r.actor,
      action: 'certificate.reserved',
      subject: r.serial,
      details: { device_id: r.deviceId, credential: kind },
    })
    return { kind: 'reserved', certificate: intended(r) }
  }

  /** The same credential and key again: the answer was lost, or the process died before it. */
  const repeat = (r: Reservation, row: CertificateRow): Reserved => {
    if (row.device_id !== r.deviceId)
      refuse('device_id_mismatch', 'this credential and key were used for another device id')
    refuseState((findDevice.get(r.deviceId) as DeviceRow).state)
    checkKey(r)
    if (row.state === 'revoked') refuse('certificate_revoked', 'the certificate of this use has been revoked')
    if (row.state === 'live') return { kind: 'already', certificate: toCertificate(row) }
    if (row.issuer_ski === r.issuerSki && row.not_after > r.now && row.not_after <= r.issuerNotAfter) {
      checkIssuer(row.issuer_ski)
      return { kind: 'reserved', certificate: toCertificate(row) }
    }
    // The issuer of that day is gone, or the dates are over, or beyond what the issuer is good for: it can no longer be signed as it was meant, yet it may have been
    // signed and lost. So it goes on the CRL, and the use gets another one.
    abandon.run(r.now, row.serial)
    newRevocation.run(row.issuer_ski)
    journal.audit({ at: r.now, actor: r.actor, action: 'certificate.abandoned', subject: row.serial })
    return writeIntent(r)
  }

  /** Makes the device, or brings a revoked one back; {@link checkDevice} has said that it may. */
  const prepareDevice = (r: Reservation): void => {
    const device = findDevice.get(r.deviceId)
    const audit = (action: string) =>
      journal.audit({ at: r.now, actor: r.actor, action, subject: r.deviceId })
    if (device === undefined) {
      addDevice.run({ id: r.deviceId, now: r.now, group: r.group, tags: JSON.stringify(r.tags) })
      audit('device.created')
      return
    }
    if (device.state !== 'revoked') return
    reactivate.run(r.now, r.deviceId)
    audit('device.reactivated')
    journal.change({ kind: 'device', deviceId: r.deviceId })
  }

  /** Says no while nothing is written yet. */
  const checkDevice = (r: Reservation, token: ClaimTokenRow | undefined): void => {
    const device = findDevice.get(r.deviceId)
    if (device === undefined) return
    if (device.id !== r.deviceId) refuse('device_exists', `the id differs only in case from ${device.id}`)
    if (token === undefined) return
    if (token.device_id === null)
      refuse('device_exists', 'an unbound token makes new devices only; use a token bound to this id')
    if (device.state !== 'revoked') refuseState(device.state)
  }

  /** One device must not be able to fill the registry, nor the CRL of its revocation. */
  const checkCounts = (r: Reservation): void => {
    if (r.credential.kind === 'renewal' && (successors.get(credentialOf(r)) ?? 0) >= MOST_SUCCESSORS)
      refuseMore(`this certificate has been renewed with ${MOST_SUCCESSORS} keys; renew with a newer one`)
    if ((usable.get(r.deviceId, r.now) ?? 0) >= MOST_USABLE)
      refuseMore(`the device has ${MOST_USABLE} certificates; let some expire, or revoke and enrol it again`)
  }

  return {
    findKey: (spkiSha256) =>
      read(() => {
        const row = findKey.get(spkiSha256)
        return (
          row && {
            deviceId: row.device_id as Reservation['deviceId'],
            compromised: row.compromised_at !== null,
          }
        )
      }),
    findTokenUse: (tokenId, spkiSha256) =>
      read(() => {
        const serial = findUse.get('token', tokenId, spkiSha256)
        return serial === undefined ? undefined : certificateBySerial(serial)
      }),
    reserve: (r) =>
      write(() => {
        const token = checkCredential(r)
        const used = findUse.get(r.credential.kind, credentialOf(r), r.spkiSha256)
        if (used !== undefined) return repeat(r, findCertificate.get(used) as CertificateRow)
        if (token !== undefined && token.used >= token.uses)
          refuse('token_spent', 'the token has no uses left')
        checkDevice(r, token)
        checkKey(r)
        checkCounts(r)
        prepareDevice(r)
        if (token !== undefined) spend.run(token.id)
        return writeIntent(r)
      }),
    recordCertificate: (serial, fingerprint, der, now, actor) =>
      write(() => {
        const row =
          findCertificate.get(serial) ?? refuse('not_found', 'there is no reservation of this serial')
        // the first writer wins: two requests may have signed the same reservation, and only one signature leaves the house
        if (row.state === 'live') return toCertificate(row)
        const device = findDevice.get(row.device_id) as DeviceRow
        if (row.state === 'revoked' || device.state !== 'active')
          refuse('certificate_revoked', `the device has become ${device.state} since the reservation`)
        goLive.run(fingerprint, row.number)
        keepBytes.run(row.number, der)
        revise.run(row.device_id)
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
          },
        })
        journal.change({ kind: 'device', deviceId: row.device_id })
        return { ...toCertificate(row), state: 'live', fingerprint, der }
      }),
    grantedTtl: (fingerprint) => read(() => ttlOf.get(fingerprint)),
    newestRecordedTime: () => read(() => newest.get() ?? 0),
  }
}
