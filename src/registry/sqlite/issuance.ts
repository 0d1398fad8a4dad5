/**
 * Issuance: intent before the signature, record before the reply (docs/issuance-cycle.md says what a power cut leaves after each). Here the
 * intent, and only what must be checked inside its transaction, and of that the order: the checks are issuance-checks.ts and
 * credential-checks.ts, the record is recording.ts. Who may have a certificate is #policy/enrollment-group.ts.
 *
 * Everything is checked before anything is written. Refusals, in the order they are looked for: those of the credential
 * (credential-checks.ts); group_disabled; of a repeated use device_id_mismatch, device_suspended and its kin, conflict (another group),
 * key_compromised, key_in_use, certificate_revoked, certificate_expired, token_spent, enrollment_denied, quota_exceeded, issuer_unusable; of a new one
 * enrollment_denied, token_spent and its kin; device_suspended, device_retired, device_revoked, credential_not_allowed, device_exists, device_not_registered;
 * conflict (another group); key_compromised, key_in_use; quota_exceeded; issuer_unusable; conflict (the serial is taken).
 */

import Database from 'better-sqlite3'
import { INTENDED_FOR, isStanding, type CertificateRecord } from '#fleet/certificate.ts'
import type { Reservation, Reserved } from '../registry.ts'
import { createCredentialChecks, credentialOf, type Standing } from './credential-checks.ts'
import { createGroupSizes } from './group-sizes.ts'
import { createIssuanceChecks, type IssuerRow } from './issuance-checks.ts'
import { createKeys, type KeyRow } from './keys.ts'
import { createQuotas } from './quotas.ts'
import { createRecording, type Used } from './recording.ts'
import { refuse, refuseState } from './refusals.ts'
import { DEVICE_COLUMNS, type DeviceRow, SELECT_WITH_ISSUER, toCertificate } from './rows.ts'
import { createSlots, OVERTAKEN } from './slots.ts'
import { createGroups } from './snapshot.ts'
import type { Tools, Verbs } from './verbs.ts'

/** What a new reservation leaves on record. */
const intended = (r: Reservation, predecessor: string | undefined): CertificateRecord => ({
  serial: r.serial,
  deviceId: r.deviceId,
  issuerSki: r.issuerSki,
  spkiSha256: r.spkiSha256,
  state: 'intended',
  notBefore: r.notBefore,
  notAfter: r.notAfter,
  renewAt: r.renewAt,
  extras: r.extras,
  predecessor,
  supersededBy: undefined,
  pendingUntil: r.pendingUntil,
  fingerprint: undefined,
  der: undefined,
  revokedAt: undefined,
  revocationReason: undefined,
})

/**
 * What a renewal gave and what is worth nothing any more: withdrawn, revoked, never confirmed before it expired, or of an issuer that no
 * longer stands. Its holder still has the one before it, and may ask again with the same key, as for the first time.
 */
const isVoid = ({ state, not_after, issuer_state }: Used, now: number): boolean =>
  state === 'revoked' ||
  (state === 'pending' && not_after <= now) ||
  (state !== 'intended' && !isStanding(issuer_state))

const isTaken = (error: unknown): boolean =>
  error instanceof Database.SqliteError && error.code === 'SQLITE_CONSTRAINT_UNIQUE'

export const issuanceVerbs = (
  tools: Tools,
): Verbs<'findKey' | 'reserve' | 'recordCertificate' | 'grantedTtl' | 'newestRecordedTime'> => {
  const { database, journal, write, read } = tools
  // also by an id that differs in case: see checkDevice
  const findDevice = database.prepare<[string], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where id = ?`,
  )
  const addDevice = database.prepare(`
    insert into devices (id, state, state_since, group_name, tags, created_at, revision)
    values (:id, 'active', :now, :group, :tags, :now, 1)`)
  const activate = database.prepare(
    "update devices set state = 'active', state_since = ?, late_renewals = 0, revision = revision + 1 where id = ?",
  )
  const forgetFetches = database.prepare('delete from trust_fetches where device_id = ?')
  const countLate = database.prepare('update devices set late_renewals = ? where id = ?')
  const setLastExpiry = database.prepare('update issuers set last_expiry = ? where ski = ?')
  const findCertificate = database.prepare<[string], Used>(`${SELECT_WITH_ISSUER} where serial = +?`)
  const findUse = database.prepare<[string, string, string], Used>(
    `${SELECT_WITH_ISSUER} where spki_sha256 = +? and credential_kind = +? and credential = +? order by number desc limit 1`,
  )
  const intend = database.prepare(`
    insert into certificates (serial, device_id, issuer_ski, spki_sha256, credential_kind, credential, reserved_at, state, not_before,
      not_after, ttl, renew_at, pending_until, extras, predecessor)
    values (?, ?, ?, ?, ?, ?, ?, 'intended', ?, ?, ?, ?, ?, ?, ?)`)
  const keepAsked = database.prepare('update certificates set asked_id = ? where serial = ?')
  const waitLonger = database.prepare('update certificates set pending_until = ? where number = ?')
  const ttlOf = database
    .prepare<[string], number>('select ttl from certificates where fingerprint = ?')
    .pluck()
  const abandon = database.prepare(
    "update certificates set state = 'revoked', revoked_at = ?, revocation_reason = 'superseded' where number = ?",
  )
  const newRevocation = database.prepare(
    'update issuers set revocation_version = revocation_version + 1 where ski = ?',
  )
  const findKey = createKeys(database)
  const sizes = createGroupSizes(database)
  const quotas = createQuotas(database, sizes)
  /** Groups whose devices are counted. */
  const begun = new Set<string>()
  const slots = createSlots(tools)
  const record = createRecording({
    database,
    journal,
    slots,
    findCertificate: (serial) => findCertificate.get(serial),
  })
  const credentials = createCredentialChecks({
    database,
    quotas,
    findDevice: (id) => findDevice.get(id),
    findKey,
    successorOf: slots.successorOf,
  })
  const { checkGroup, checkMember, checkKey, checkIssuer, checkNewDevice, checkDevice } =
    createIssuanceChecks({
      database,
      quotas,
      groups: createGroups(database, journal.accessChanges),
    })

  const writeIntent = (r: Reservation, issuer: IssuerRow, predecessor: string | undefined): Reserved => {
    try {
      intend.run(
        r.serial,
        r.deviceId,
        r.issuerSki,
        r.spkiSha256,
        r.credential.kind,
        credentialOf(r),
        r.now,
        r.notBefore,
        r.notAfter,
        r.ttl,
        r.renewAt,
        r.pendingUntil,
        r.extras === undefined ? null : JSON.stringify(r.extras),
        predecessor ?? null,
      )
    } catch (error) {
      // of 126 bits, so nobody looks before: it costs nothing until it happens
      if (isTaken(error)) refuse('conflict', 'the serial is taken')
      throw error
    }
    if (r.askedId !== undefined) keepAsked.run(r.askedId, r.serial)
    if (r.notAfter > (issuer.last_expiry ?? -Infinity)) setLastExpiry.run(r.notAfter, r.issuerSki)
    // no audit entry: the row says what is meant, and is told of when it is recorded
    journal.note(r.now)
    return { kind: 'reserved', certificate: intended(r, predecessor) }
  }

  /** Again. One that is about to be withdrawn is waited for anew, but not one that was overtaken: two keys would keep two for ever. */
  const handOut = (r: Reservation, row: Used): Reserved => {
    const certificate = toCertificate(row)
    const until = row.pending_until ?? 0
    if (
      row.state !== 'pending' ||
      until > r.now + OVERTAKEN ||
      slots.isOvertaken(row, Math.max(until, r.now))
    )
      return { kind: 'already', certificate }
    const pendingUntil = Math.min(r.pendingUntil, row.not_after)
    waitLonger.run(pendingUntil, row.number)
    return { kind: 'already', certificate: { ...certificate, pendingUntil } }
  }

  /**
   * What a use gave is worth nothing any more. Its issuer fell: any credential gives another one. It expired: one that is good for this
   * one device does, and of a token it is a further use, which is approved like any. What costs no use is a renewal of the day, else one use
   * would yield certificates without end; one a day also where nothing is renewed, else such a group would not outlive its CA. It leaves the
   * count of late renewals as it is.
   */
  const replace = (r: Reservation, standing: Standing, row: Used): Reserved => {
    const { serves, predecessor } = standing
    const expired = row.not_after <= r.now
    if (expired && (serves === 'new' || serves === 'holder'))
      refuse(
        'certificate_expired',
        'what was issued for this request has expired; use a token bound to the device id',
      )
    const isUse = expired && serves === 'revives'
    if (isUse) {
      standing.check(true)
      credentials.checkRequest(r)
    } else quotas.checkRenewals(r.deviceId, Math.max(1, r.limits.renewalsPerDay), r.now)
    quotas.checkHour(r.limits.perHour, r.now)
    const issuer = checkIssuer(r.issuerSki)
    const reserved = writeIntent(r, issuer, predecessor)
    quotas.countHour(r.limits.perHour, r.now)
    if (isUse) {
      standing.spend()
      credentials.closeRequest(r)
      countLate.run(0, r.deviceId)
    }
    return reserved
  }

  /** The same credential and key again: the answer was lost, or the process died before it. */
  const repeat = (r: Reservation, standing: Standing, key: KeyRow | undefined, row: Used): Reserved => {
    if (row.device_id !== r.deviceId)
      refuse('device_id_mismatch', 'this credential and key were used for another device id')
    const device = findDevice.get(r.deviceId) as DeviceRow
    refuseState(device.state)
    checkMember(r, device)
    checkKey(key, r)
    if (row.state === 'revoked') refuse('certificate_revoked', 'the certificate of this use has been revoked')
    if (row.state !== 'intended')
      return row.not_after > r.now && isStanding(row.issuer_state)
        ? handOut(r, row)
        : replace(r, standing, row)
    // a renewal that was begun and never finished: another key may have succeeded the certificate since
    if (standing.serves === 'holder') standing.check()
    const issuer = checkIssuer(r.issuerSki)
    const isOld = row.not_before < r.now - INTENDED_FOR
    if (
      row.issuer_ski === r.issuerSki &&
      !isOld &&
      row.not_after > r.now &&
      row.not_after <= r.issuerNotAfter
    ) {
      if ((row.pending_until ?? 0) > r.now) return { kind: 'reserved', certificate: toCertificate(row) }
      // meant long ago: it gets its time to be confirmed from today
      waitLonger.run(r.pendingUntil, row.number)
      return { kind: 'reserved', certificate: { ...toCertificate(row), pendingUntil: r.pendingUntil } }
    }
    // The issuer of that day is gone, or the dates are over, long begun, or beyond what the issuer is good for: it can no longer be signed as it was
    // meant, yet it may have been signed and lost. So it goes on the CRL, and the use gets another one, of this hour.
    quotas.checkHour(r.limits.perHour, r.now)
    abandon.run(r.now, row.number)
    newRevocation.run(row.issuer_ski)
    journal.audit({ at: r.now, actor: r.actor, action: 'certificate.abandoned', subject: row.serial })
    const reserved = writeIntent(r, issuer, standing.predecessor)
    quotas.countHour(r.limits.perHour, r.now)
    return reserved
  }

  /** Makes the device, or brings it from `registered` or `revoked` to `active`; it has been checked that this may be. */
  const prepareDevice = (r: Reservation, standing: Standing, device: DeviceRow | undefined): void => {
    const audit = (action: string) =>
      journal.audit({ at: r.now, actor: r.actor, action, subject: r.deviceId })
    if (device === undefined) {
      addDevice.run({ id: r.deviceId, now: r.now, group: r.group, tags: JSON.stringify(r.tags) })
      sizes.move(undefined, { group: r.group, state: 'active' })
      audit('device.created')
      return
    }
    if (device.state === 'active') {
      const late = standing.late ? device.late_renewals + 1 : 0
      if (late !== device.late_renewals) countLate.run(late, r.deviceId)
      return
    }
    activate.run(r.now, r.deviceId)
    audit(device.state === 'revoked' ? 'device.reactivated' : 'device.enrolled')
    // what it was given in its life before, whoever it is now may not have
    if (device.state === 'revoked') forgetFetches.run(r.deviceId)
    // no door has a verdict on a device that was only registered
    if (device.state === 'revoked') journal.change({ kind: 'device', deviceId: r.deviceId })
  }

  const reserve = (r: Reservation): Reserved => {
    const standing = credentials.stand(r)
    checkGroup(r)
    const key = findKey(r.spkiSha256)
    // a key that nobody has heard of has been used with nothing
    const used = key && findUse.get(r.spkiSha256, r.credential.kind, credentialOf(r))
    const again = used !== undefined && standing.serves === 'holder' && isVoid(used, r.now)
    if (used !== undefined && !again) return repeat(r, standing, key, used)
    // the same key as its successor has, which came by another way: a device that has one key for its life, and lost an answer
    const { successor } = standing
    if (successor?.spkiSha256 === r.spkiSha256)
      return repeat(r, standing, key, findCertificate.get(successor.serial) as Used)
    credentials.checkRequest(r)
    standing.check()
    const device = findDevice.get(r.deviceId)
    if (device === undefined) checkNewDevice(r, standing)
    else {
      checkDevice(r, standing, device)
      checkMember(r, device)
    }
    checkKey(key, r)
    quotas.checkHour(r.limits.perHour, r.now)
    if (standing.predecessor !== undefined) quotas.checkRenewals(r.deviceId, r.limits.renewalsPerDay, r.now)
    const issuer = checkIssuer(r.issuerSki)
    // ---- from here on nothing is refused, but a serial that is taken
    prepareDevice(r, standing, device)
    standing.spend()
    credentials.closeRequest(r)
    quotas.countHour(r.limits.perHour, r.now)
    return writeIntent(r, issuer, standing.predecessor)
  }

  return {
    findKey: (spkiSha256) =>
      read(() => {
        const key = findKey(spkiSha256)
        return key && { deviceId: key.device_id ?? undefined, compromised: key.compromised_at !== null }
      }),
    reserve: async (r) => {
      if (r.limits.devices !== undefined && !begun.has(r.group)) {
        await write(() => sizes.begin(r.group))
        begun.add(r.group)
      }
      return write(() => reserve(r))
    },
    recordCertificate: (...args) => write(() => record(...args)),
    grantedTtl: (fingerprint) => read(() => ttlOf.get(fingerprint)),
    newestRecordedTime: () => read(() => journal.newest()),
  }
}
