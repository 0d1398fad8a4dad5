/**
 * The places that a device's certificates take: the current one, the one before it, and one that is `pending`. What is done when a
 * certificate becomes the current one, and when one loses its place. Always inside a verb's transaction. Not when: the verbs decide that.
 */

import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Tools } from './verbs.ts'

/** What must be known of a certificate to give it its place. */
export type Placed = {
  readonly number: number
  readonly serial: string
  readonly device_id: DeviceId
  readonly not_after: number
  readonly renew_at: number
  readonly predecessor: string | null
}

type Other = {
  readonly number: number
  readonly serial: string
  readonly issuer_ski: string
  readonly device_id: DeviceId
}

export type Slots = {
  /** Has the device a confirmed certificate, neither revoked nor expired? Then the next one is `pending`. */
  hasUsable(id: DeviceId, now: number): boolean
  /**
   * `placed` has become `live` by being recorded: writes that it succeeded its predecessor (unless another one did before), and the dates
   * and the new revision of its device.
   */
  settle(placed: Placed): void
  /**
   * `pending` → `live`: the newest confirmed one beside it stays (the one it succeeds), older ones that could still be used are revoked as
   * `superseded`. Dates and revision of the device, audit, change row, revocation versions. The caller has checked that it may be.
   */
  confirm(placed: Placed, now: number, actor: Actor): void
  /** Revokes what the device has `pending` beside certificate `number`. @returns how many */
  supersedePending(placed: Pick<Placed, 'number' | 'device_id'>, now: number, actor: Actor): number
}

export const createSlots = ({ database, journal }: Pick<Tools, 'database' | 'journal'>): Slots => {
  const usable = database
    .prepare<[string, number], 1>(
      "select 1 from certificates where device_id = +? and state = 'live' and not_after > ? order by number desc limit 1",
    )
    .pluck()
  const others = database.prepare<[string, number, number], Other>(
    `select number, serial, issuer_ski, device_id from certificates
     where device_id = +? and number <> ? and state = 'live' and not_after > ? order by number desc`,
  )
  const pendings = database.prepare<[string, number], Other>(
    `select number, serial, issuer_ski, device_id from certificates
     where device_id = +? and number <> ? and state = 'pending'`,
  )
  const supersede = database.prepare(
    "update certificates set state = 'revoked', revoked_at = ?, revocation_reason = 'superseded' where number = ?",
  )
  const newRevocation = database.prepare(
    'update issuers set revocation_version = revocation_version + 1 where ski = ?',
  )
  const goLive = database.prepare(
    "update certificates set state = 'live', pending_until = null where number = ?",
  )
  const succeed = database.prepare(
    'update certificates set superseded_by = ? where serial = ? and superseded_by is null',
  )
  const setDates = database.prepare(
    'update devices set renew_at = ?, expires_at = ?, revision = revision + 1 where id = ?',
  )
  const revise = database.prepare('update devices set revision = revision + 1 where id = ?')

  const revoke = (losers: readonly Other[], now: number, actor: Actor): void => {
    for (const { number, serial, issuer_ski, device_id } of losers) {
      supersede.run(now, number)
      newRevocation.run(issuer_ski)
      journal.audit({
        at: now,
        actor,
        action: 'certificate.superseded',
        subject: serial,
        details: { device_id },
      })
    }
  }
  const follow = ({ serial, predecessor }: Placed): void => {
    if (predecessor !== null) succeed.run(serial, predecessor)
  }

  return {
    hasUsable: (id, now) => usable.get(id, now) !== undefined,
    settle: (placed) => {
      follow(placed)
      setDates.run(placed.renew_at, placed.not_after, placed.device_id)
    },
    confirm: (placed, now, actor) => {
      const { number, serial, device_id } = placed
      goLive.run(number)
      follow(placed)
      const [kept, ...losers] = others.all(device_id, number, now)
      revoke(losers, now, actor)
      // one that came later by another way is already the device's current one
      if (kept === undefined || kept.number < number)
        setDates.run(placed.renew_at, placed.not_after, device_id)
      else revise.run(device_id)
      journal.audit({
        at: now,
        actor,
        action: 'certificate.confirmed',
        subject: serial,
        details: { device_id },
      })
      journal.change({ kind: 'device', deviceId: device_id })
    },
    supersedePending: ({ number, device_id }, now, actor) => {
      const losers = pendings.all(device_id, number)
      revoke(losers, now, actor)
      if (losers.length > 0) journal.change({ kind: 'device', deviceId: device_id })
      return losers.length
    },
  }
}
