/**
 * What becomes of a certificate after it was handed out beside another one: confirmed, or withdrawn. And what is written down when a
 * superseded one asks for more. Not the renewal itself: that is issuance.ts; not the places of certificates: slots.ts.
 */

import { HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { mayMove } from '#fleet/device.ts'
import type { RenewalMemory } from '../renewals.ts'
import { CUT_AT } from './cuts.ts'
import { createKeys } from './keys.ts'
import { refuse, refuseState } from './refusals.ts'
import {
  type CertificateRow,
  DEVICE_COLUMNS,
  type DeviceRow,
  SELECT_CERTIFICATE,
  toCertificate,
  toDevice,
} from './rows.ts'
import { createSlots } from './slots.ts'
import type { Tools } from './verbs.ts'

/** A copy that asks without end is written down once in so long, ms: each time would fill the disk. */
const TOLD_EVERY = HOUR

/** Certificates of a device that are looked at for what one of them has asked for: more than a day brings. */
const LOOKED_AT = 100

type Unconfirmed = {
  readonly number: number
  readonly serial: string
  readonly issuer_ski: string
  readonly device_id: DeviceId
  readonly not_after: number
}

export const renewalVerbs = ({ database, journal, write, read }: Tools): RenewalMemory => {
  const slots = createSlots({ database, journal })
  const findByFingerprint = database.prepare<[string], CertificateRow>(
    `${SELECT_CERTIFICATE} where fingerprint = +?`,
  )
  const findDevice = database.prepare<[string], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where id = ?`,
  )
  // the first term names the partial index
  const unconfirmed = database.prepare<[number, number], Unconfirmed>(
    `select number, serial, issuer_ski, device_id, not_after from certificates
     where state = 'pending' and pending_until < +? order by pending_until limit +?`,
  )
  const withdraw = database.prepare(
    "update certificates set state = 'revoked', revoked_at = ?, revocation_reason = 'superseded' where number = ?",
  )
  const waitLonger = database.prepare('update certificates set pending_until = ? where number = ?')
  const askedFor = database.prepare<[string, string, number], { readonly spki_sha256: string }>(
    `select spki_sha256 from
       (select spki_sha256, credential_kind, credential, reserved_at from certificates where device_id = +? order by number desc limit ${LOOKED_AT})
     where credential_kind = 'renewal' and credential = ? and reserved_at > ?`,
  )
  const newRevocation = database.prepare(
    'update issuers set revocation_version = revocation_version + 1 where ski = ?',
  )
  const newRevocations = database.prepare(
    `update issuers set revocation_version = revocation_version + 1
     where ski in (select issuer_ski from certificates where device_id = +?)`,
  )
  const suspect = database.prepare(
    'update devices set clone_suspected_at = ?, revision = revision + 1 where id = ?',
  )
  const suspend = database.prepare(
    `update devices set state = 'suspended', state_since = ?, ${CUT_AT} where id = ?`,
  )

  /** The column does not tell case apart: 001_registry.sql. */
  const deviceOf = (id: DeviceId): DeviceRow | undefined => {
    const row = findDevice.get(id)
    return row?.id === id ? row : undefined
  }
  const findKey = createKeys(database)
  const found = (id: DeviceId) => {
    const row = deviceOf(id)
    return row && toDevice(row)
  }

  return {
    confirmCertificate: (fingerprint, now, actor) =>
      write(() => {
        const row =
          findByFingerprint.get(fingerprint) ??
          refuse('certificate_unknown', 'the certificate is not on record')
        // before the certificate's own state: of a revoked device it is revoked too, but the device's is the better word
        refuseState((findDevice.get(row.device_id) as DeviceRow).state)
        if (row.state === 'revoked') refuse('certificate_revoked', 'the certificate has been revoked')
        if (now > row.not_after) refuse('certificate_expired', 'the certificate has expired')
        if (row.state === 'live') return toCertificate(row)
        if ((findKey(row.spki_sha256)?.compromised_at ?? null) !== null)
          refuse('key_compromised', 'the key of the certificate has been reported compromised')
        // withdrawn as of then, whether that has been written yet or not
        if (now > (row.pending_until ?? row.not_after) && !slots.isNeeded(row, now))
          refuse('certificate_revoked', 'it was not confirmed in time, and is withdrawn')
        slots.confirm(row, now, actor)
        return toCertificate(findByFingerprint.get(fingerprint) as CertificateRow)
      }),

    withdrawUnconfirmed: async (now, limit) => {
      // nearly always there is none, and looking takes no lock
      if (await read(() => unconfirmed.get(now, 1) === undefined)) return 0
      return write(() => {
        let withdrawn = 0
        for (const row of unconfirmed.all(now, limit)) {
          const { number, serial, issuer_ski, device_id } = row
          if (slots.isNeeded(row, now)) {
            waitLonger.run(row.not_after, number)
            continue
          }
          withdrawn += 1
          withdraw.run(now, number)
          newRevocation.run(issuer_ski)
          journal.audit({
            at: now,
            actor: 'system',
            action: 'certificate.withdrawn',
            subject: serial,
            details: { device_id },
          })
          journal.change({ kind: 'device', deviceId: device_id })
        }
        return withdrawn
      })
    },

    renewalsBy: (fingerprint, since) =>
      read(() => {
        const row = findByFingerprint.get(fingerprint)
        if (row === undefined) return undefined
        const keys = new Set(
          askedFor.all(row.device_id, fingerprint, since).map(({ spki_sha256 }) => spki_sha256),
        )
        return {
          successor: slots.successorOf(row.superseded_by),
          displaced:
            row.state === 'revoked' && row.revocation_reason === 'superseded' && row.superseded_by !== null,
          keys: keys.size,
        }
      }),

    recordCloneSuspicion: ({ deviceId, fingerprint, sign, spkiSha256, address, action, now }) =>
      write(() => {
        const device = deviceOf(deviceId)
        if (device === undefined) return undefined
        const suspends = action === 'suspend' && mayMove(device.state, 'suspended', 'clone_suspected')
        const told = device.clone_suspected_at !== null && device.clone_suspected_at > now - TOLD_EVERY
        if (told && !suspends) return toDevice(device)
        suspect.run(now, deviceId)
        journal.audit({
          at: now,
          actor: 'system',
          action: 'device.clone_suspected',
          subject: deviceId,
          details: { fingerprint, sign, spki_sha256: spkiSha256, address, action },
        })
        if (suspends) {
          suspend.run(now, now, deviceId)
          journal.audit({
            at: now,
            actor: 'system',
            action: 'device.suspended',
            subject: deviceId,
            details: { because: 'clone_suspected' },
          })
          newRevocations.run(deviceId)
        }
        // a rule may ask for it (device_state)
        if (suspends || device.clone_suspected_at === null) journal.change({ kind: 'device', deviceId })
        return found(deviceId)
      }),

    clearCloneSuspicion: ({ id, now, actor, ifRevision }) =>
      write(() => {
        const device = deviceOf(id)
        if (device === undefined) return undefined
        if (ifRevision !== undefined && ifRevision !== device.revision)
          refuse('precondition_failed', `device ${id} has changed since`)
        if (device.clone_suspected_at === null) return toDevice(device)
        suspect.run(null, id)
        journal.audit({
          at: now,
          actor,
          action: 'device.clone_cleared',
          subject: id,
          details: { suspected_at: device.clone_suspected_at },
        })
        journal.change({ kind: 'device', deviceId: id })
        return found(id)
      }),
  }
}
