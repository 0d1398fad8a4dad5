/**
 * Issuance: intent before the signature, record before the reply (docs/issuance-cycle.md says what a power cut leaves after each).
 * Only what must be checked inside the transaction; who may have a certificate is #policy/enrollment.ts.
 *
 * Everything is checked before anything is written. Refusals, in the order they are looked for: those of the credential
 * (credential-checks.ts); of a repeated use device_id_mismatch, certificate_revoked; device_exists, device_not_registered,
 * device_suspended, device_retired, device_revoked; key_compromised, key_in_use, credential_not_allowed; quota_exceeded; issuer_unusable;
 * conflict (the serial is taken).
 */

import type { CertificateRecord, IssuerState } from '#fleet/certificate.ts'
import type { Actor } from '#fleet/credentials.ts'
import type { Reservation, Reserved } from '../registry.ts'
import { createCredentialChecks, credentialOf, type Standing } from './credential-checks.ts'
import { createGroupSizes } from './group-sizes.ts'
import { createKeys } from './keys.ts'
import { createQuotas } from './quotas.ts'
import { refuse, refuseState } from './refusals.ts'
import {
  type CertificateRow,
  DEVICE_COLUMNS,
  type DeviceRow,
  SELECT_CERTIFICATE,
  toCertificate,
} from './rows.ts'
import { createSlots } from './slots.ts'
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
 * Was it handed out beside another one, never confirmed, and taken back? Then its holder still has the other one, and may ask again with the
 * same key. (What was confirmed has no pendingUntil any more; what was never handed out has no fingerprint.)
 */
const wasWithdrawn = (row: CertificateRow): boolean =>
  row.state === 'revoked' &&
  row.revocation_reason === 'superseded' &&
  row.pending_until !== null &&
  row.fingerprint !== null

type IssuerRow = { readonly state: IssuerState; readonly last_expiry: number | null }

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
  const countLate = database.prepare('update devices set late_renewals = ? where id = ?')
  const revise = database.prepare('update devices set revision = revision + 1 where id = ?')
  const findIssuer = database.prepare<[string], IssuerRow>(
    'select state, last_expiry from issuers where ski = ?',
  )
  const setLastExpiry = database.prepare('update issuers set last_expiry = ? where ski = ?')
  const findCertificate = database.prepare<[string], CertificateRow>(
    `${SELECT_CERTIFICATE} where serial = +?`,
  )
  const findUse = database.prepare<[string, string, string], CertificateRow>(
    `${SELECT_CERTIFICATE} where spki_sha256 = +? and credential_kind = ? and credential = ? order by number desc limit 1`,
  )
  const isTaken = database.prepare<[string], 1>('select 1 from certificates where serial = ?').pluck()
  const intend = database.prepare(`
    insert into certificates (serial, device_id, issuer_ski, spki_sha256, credential_kind, credential, reserved_at, state, not_before,
      not_after, ttl, renew_at, pending_until, extras, predecessor)
    values (:serial, :deviceId, :issuerSki, :spkiSha256, :kind, :credential, :now, 'intended', :notBefore,
      :notAfter, :ttl, :renewAt, :pendingUntil, :extras, :predecessor)`)
  /** Of two renewals of one certificate that were begun together the other one has been confirmed; an operator may have wanted both. */
  const wasOutrun = database
    .prepare<[number], 1>(
      `select 1 from certificates c join certificates p on p.serial = c.predecessor
       where c.number = +? and p.superseded_by <> c.serial and not exists
         (select 1 from enrollment_requests where credential_kind = 'renewal' and credential = p.fingerprint
          and spki_sha256 = c.spki_sha256 and state = 'issued')`,
    )
    .pluck()
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
  const goLive = database.prepare(
    "update certificates set state = 'live', pending_until = null, fingerprint = ? where number = ?",
  )
  const goPending = database.prepare(
    "update certificates set state = 'pending', fingerprint = ? where number = ?",
  )
  const keepBytes = database.prepare('insert into certificate_bytes (number, der) values (?, ?)')

  const findKey = createKeys(database)
  const sizes = createGroupSizes(database)
  const quotas = createQuotas(database, sizes)
  /** Groups whose devices are counted. */
  const begun = new Set<string>()
  const slots = createSlots(tools)
  const credentials = createCredentialChecks(database, quotas, (id) => findDevice.get(id))

  const checkKey = ({ spkiSha256, deviceId }: Reservation): void => {
    const key = findKey(spkiSha256)
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

  const checkSerial = (serial: string): void => {
    if (isTaken.get(serial) !== undefined) refuse('conflict', 'the serial is taken')
  }

  const writeIntent = (r: Reservation, issuer: IssuerRow, predecessor: string | undefined): Reserved => {
    intend.run({
      serial: r.serial,
      deviceId: r.deviceId,
      issuerSki: r.issuerSki,
      spkiSha256: r.spkiSha256,
      kind: r.credential.kind,
      credential: credentialOf(r),
      now: r.now,
      notBefore: r.notBefore,
      notAfter: r.notAfter,
      ttl: r.ttl,
      renewAt: r.renewAt,
      pendingUntil: r.pendingUntil,
      extras: r.extras === undefined ? null : JSON.stringify(r.extras),
      predecessor: predecessor ?? null,
    })
    if (r.notAfter > (issuer.last_expiry ?? -Infinity)) setLastExpiry.run(r.notAfter, r.issuerSki)
    // no audit entry: the row says what is meant, and is told of when it is recorded
    journal.note(r.now)
    return { kind: 'reserved', certificate: intended(r, predecessor) }
  }

  /** The same credential and key again: the answer was lost, or the process died before it. */
  const repeat = (r: Reservation, standing: Standing, row: CertificateRow): Reserved => {
    if (row.device_id !== r.deviceId)
      refuse('device_id_mismatch', 'this credential and key were used for another device id')
    refuseState((findDevice.get(r.deviceId) as DeviceRow).state)
    checkKey(r)
    if (row.state === 'revoked') refuse('certificate_revoked', 'the certificate of this use has been revoked')
    if (row.state !== 'intended') return { kind: 'already', certificate: toCertificate(row) }
    // a renewal that was begun and never finished: another key may have succeeded the certificate since
    if (standing.serves === 'holder') standing.check()
    const issuer = checkIssuer(r.issuerSki)
    if (row.issuer_ski === r.issuerSki && row.not_after > r.now && row.not_after <= r.issuerNotAfter) {
      if ((row.pending_until ?? 0) > r.now) return { kind: 'reserved', certificate: toCertificate(row) }
      // meant long ago: it gets its time to be confirmed from today
      waitLonger.run(r.pendingUntil, row.number)
      return { kind: 'reserved', certificate: { ...toCertificate(row), pendingUntil: r.pendingUntil } }
    }
    checkSerial(r.serial)
    // The issuer of that day is gone, or the dates are over, or beyond what the issuer is good for: it can no longer be signed as it was
    // meant, yet it may have been signed and lost. So it goes on the CRL, and the use gets another one.
    abandon.run(r.now, row.number)
    newRevocation.run(row.issuer_ski)
    journal.audit({ at: r.now, actor: r.actor, action: 'certificate.abandoned', subject: row.serial })
    return writeIntent(r, issuer, standing.predecessor)
  }

  const checkNewDevice = (r: Reservation, standing: Standing): void => {
    if (standing.serves === 'listed' || r.limits.registeredOnly)
      refuse('device_not_registered', 'only devices that were registered before may enrol')
    if (r.limits.devices !== undefined) quotas.checkDevices(r.group, r.limits.devices)
  }

  const checkDevice = (r: Reservation, { serves, late }: Standing, device: DeviceRow): void => {
    if (device.id !== r.deviceId) refuse('device_exists', `the id differs only in case from ${device.id}`)
    if (serves === 'holder') {
      if (late && device.late_renewals >= r.limits.expiredRenewals)
        refuse(
          'quota_exceeded',
          'the device has been renewed after its end too often in a row; enrol it again',
        )
      return
    }
    if (device.state === 'registered') {
      if (device.registered_spki !== null && device.registered_spki !== r.spkiSha256)
        refuse('credential_not_allowed', 'the device was registered with another key')
      return
    }
    if (serves === 'new')
      refuse('device_exists', 'this credential makes new devices only; use a token bound to this id')
    if (serves !== 'revives' || device.state !== 'revoked') refuseState(device.state)
    if (serves === 'listed') refuse('device_exists', 'the device has enrolled; use a token bound to this id')
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
    // no door has a verdict on a device that was only registered
    if (device.state === 'revoked') journal.change({ kind: 'device', deviceId: r.deviceId })
  }

  const reserve = (r: Reservation): Reserved => {
    const standing = credentials.stand(r)
    const used = findUse.get(r.spkiSha256, r.credential.kind, credentialOf(r))
    const again = used !== undefined && standing.serves === 'holder' && wasWithdrawn(used)
    if (used !== undefined && !again) return repeat(r, standing, used)
    credentials.checkRequest(r)
    standing.check()
    const device = findDevice.get(r.deviceId)
    if (device === undefined) checkNewDevice(r, standing)
    else checkDevice(r, standing, device)
    checkKey(r)
    quotas.checkHour(r.limits.perHour, r.now)
    if (standing.predecessor !== undefined) quotas.checkRenewals(r.deviceId, r.limits.renewalsPerDay, r.now)
    const issuer = checkIssuer(r.issuerSki)
    checkSerial(r.serial)
    // ---- from here on nothing is refused
    prepareDevice(r, standing, device)
    standing.spend()
    credentials.closeRequest(r)
    quotas.countHour(r.limits.perHour, r.now)
    return writeIntent(r, issuer, standing.predecessor)
  }

  const record = (
    serial: string,
    fingerprint: string,
    der: Uint8Array,
    now: number,
    actor: Actor,
  ): CertificateRecord => {
    const row = findCertificate.get(serial) ?? refuse('not_found', 'there is no reservation of this serial')
    // the first writer wins: two requests may have signed the same reservation, and only one signature leaves the house
    if (row.state === 'live' || row.state === 'pending') return toCertificate(row)
    const device = findDevice.get(row.device_id) as DeviceRow
    if (row.state === 'revoked' || device.state !== 'active')
      refuse('certificate_revoked', `the device has become ${device.state} since the reservation`)
    if (row.predecessor !== null && wasOutrun.get(row.number) !== undefined)
      refuse('clone_suspected', 'this certificate has been renewed meanwhile, with another key')
    const pending = device.expires_at !== null && slots.hasUsable(row.device_id, now)
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
      // Here and not in the reservation: until this one is on record, the earlier one must go on being good, and the confirmed one
      // beside it is good for both.
      slots.supersedePending(row, now, actor)
      revise.run(row.device_id)
      return { ...toCertificate(row), state: 'pending', fingerprint, der }
    }
    goLive.run(fingerprint, row.number)
    slots.settle(row)
    return { ...toCertificate(row), state: 'live', pendingUntil: undefined, fingerprint, der }
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
