/**
 * Devices with a certificate each, written straight into a registry's file: a hundred thousand in seconds. Not an enrolment: no bytes of
 * the certificates are there, and no keys. The registry must have been opened once, and its issuer be on record.
 */

import { randomBytes } from 'node:crypto'
import Database from 'better-sqlite3'
import { DAY, SECOND } from '#fleet/clock.ts'
import { newSerial } from '#pki/serial.ts'

const REASONS = ['unspecified', 'keyCompromise', 'superseded', 'cessationOfOperation'] as const

/** @returns serials, hex */
export const addCertificates = (o: {
  readonly path: string
  readonly issuerSki: string
  readonly count: number
  readonly state: 'live' | 'revoked'
  readonly now: number
  /** of device ids */
  readonly prefix: string
}): readonly string[] => {
  const { now } = o
  const database = new Database(o.path)
  try {
    database.pragma('foreign_keys = off')
    const device = database.prepare(`
      insert into devices (id, state, state_since, group_name, tags, created_at, revision)
      values (?, ?, ?, 'default', '{}', ?, 1)`)
    const certificate = database.prepare(`
      insert into certificates (serial, device_id, issuer_ski, spki_sha256, credential_kind, credential, reserved_at, state,
        not_before, not_after, ttl, renew_at, fingerprint, revoked_at, revocation_reason)
      values (?, ?, ?, ?, 'token', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    const life = 30 * DAY
    const revoked = o.state === 'revoked'
    return database
      .transaction(() =>
        Array.from({ length: o.count }, (_, n) => {
          const serial = newSerial()
          const id = `${o.prefix}${n}`
          device.run(id, revoked ? 'revoked' : 'active', now, now)
          certificate.run(
            serial,
            id,
            o.issuerSki,
            randomBytes(32).toString('hex'),
            serial,
            now,
            o.state,
            now,
            now + life,
            life,
            now + 20 * DAY,
            randomBytes(32).toString('hex'),
            ...(revoked ? [now - n * SECOND, REASONS[n % REASONS.length]] : [null, null]),
          )
          return serial
        }),
      )
      .immediate()
  } finally {
    database.close()
  }
}
