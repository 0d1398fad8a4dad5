/** Devices: found, listed, moved from state to state, seen. Not how they come to be: that is issuance.ts. */

import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { DEVICE_MOVES, type DeviceCondition, type DeviceState, isEnded } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import { MOST_SHOWN } from '../registry.ts'
import { rowsToRead, toPage } from './pages.ts'
import {
  type CertificateSummaryRow,
  DEVICE_COLUMNS,
  type DeviceRow,
  SELECT_SUMMARY,
  toDevice,
  toSummary,
} from './rows.ts'
import type { Tools, Verbs } from './verbs.ts'

const ACTIONS: Readonly<Record<DeviceState, string>> = {
  registered: 'device.resumed',
  active: 'device.resumed',
  suspended: 'device.suspended',
  revoked: 'device.revoked',
  retired: 'device.retired',
}

/** Ids of voided tokens in an audit entry. */
const MOST_NAMED = 20

type Details = Readonly<Record<string, unknown>>

export const deviceVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<
  'findDevice' | 'listDevices' | 'certificatesOf' | 'setDeviceState' | 'recordSightings' | 'inboxCursor'
> => {
  const find = database.prepare<[string], DeviceRow>(`select ${DEVICE_COLUMNS} from devices where id = ?`)
  const list = database.prepare<[string, number], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where id > ? order by id limit ?`,
  )
  const listActive = database.prepare<[string, number], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where state = 'active' and id > ? order by id limit ?`,
  )
  // the first term names the partial index
  const listInactive = database.prepare<[DeviceState, string, number], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where state <> 'active' and state = ? and id > ? order by id limit ?`,
  )
  const certificates = database.prepare<[string], CertificateSummaryRow>(
    `${SELECT_SUMMARY} where device_id = +? and state <> 'intended' order by number desc limit ${MOST_SHOWN}`,
  )
  const move = database.prepare(
    'update devices set state = ?, state_since = ?, revision = revision + 1 where id = ?',
  )
  // an `intended` row too: it may have been signed. What was revoked keeps its date; a compromise replaces a lesser reason.
  const revokeCertificates = database.prepare(`
    update certificates set state = 'revoked', revoked_at = coalesce(revoked_at, :now),
      revocation_reason = case when revocation_reason is null or :reason = 'keyCompromise' then :reason else revocation_reason end
    where device_id = +:id and (state <> 'revoked' or (:reason = 'keyCompromise' and revocation_reason <> 'keyCompromise'))`)
  const compromiseKeys = database.prepare(
    `update device_keys set compromised_at = :now
     where spki_sha256 in (select spki_sha256 from certificates where device_id = +:id) and compromised_at is null`,
  )
  const revokeTokens = database
    .prepare<{ readonly id: string; readonly now: number }, string>(
      'update claim_tokens set revoked_at = :now where device_id = :id and revoked_at is null returning id',
    )
    .pluck()
  const unreported = database
    .prepare<{ readonly id: string }, 1>(
      `select 1 from certificates c join device_keys k using (spki_sha256)
       where c.device_id = +:id and (k.compromised_at is null or c.revocation_reason <> 'keyCompromise') limit 1`,
    )
    .pluck()
  const revise = database.prepare('update devices set revision = revision + 1 where id = ?')
  const newRevocations = database.prepare(
    `update issuers set revocation_version = revocation_version + 1
     where ski in (select issuer_ski from certificates where device_id = +?)`,
  )
  const see = database.prepare(`
    update devices set last_seen_at = :at
    where id = (select device_id from certificates where fingerprint = :fingerprint) and coalesce(last_seen_at, -1) < :at`)
  const cursor = database.prepare<[], string>('select cursor from inbox_cursor').pluck()
  const keepCursor = database.prepare(
    'insert into inbox_cursor (one, cursor) values (1, ?) on conflict (one) do update set cursor = excluded.cursor',
  )
  const found = (id: string) => {
    const row = find.get(id)
    // the column does not tell case apart: 001_registry.sql
    return row?.id === id ? toDevice(row) : undefined
  }
  const rowsIn = (state: DeviceCondition | undefined, after: string, limit: number): DeviceRow[] => {
    if (state === undefined) return list.all(after, limit)
    return state === 'active'
      ? listActive.all(after, limit)
      : listInactive.all(state as DeviceState, after, limit)
  }

  /** What an operator did to a device: audit, change row, and a new version for the CRLs that may list it. */
  const tell = (o: { id: DeviceId; now: number; actor: Actor; action: string; details: Details }): void => {
    const { id, now, actor, action, details } = o
    journal.audit({ at: now, actor, action, subject: id, details })
    journal.change({ kind: 'device', deviceId: id })
    newRevocations.run(id)
  }

  /** Its certificates, its bound tokens and, when they were stolen, its keys. @returns what the audit says of it */
  const end = (id: DeviceId, reason: RevocationReason, now: number) => {
    const certificates = revokeCertificates.run({ id, now, reason }).changes
    const keys = reason === 'keyCompromise' ? compromiseKeys.run({ id, now }).changes : 0
    const tokens = revokeTokens.all({ id, now })
    return { reason, certificates, keys, tokens: tokens.length, token_ids: tokens.slice(0, MOST_NAMED) }
  }

  return {
    findDevice: (id) => read(() => found(id)),
    listDevices: (page) =>
      read(() => {
        const [after, limit] = [page.after ?? '', rowsToRead(page)]
        return toPage(page, rowsIn(page.condition, after, limit), (row) => row.id, toDevice)
      }),
    certificatesOf: (id) => read(() => certificates.all(id).map(toSummary)),
    setDeviceState: ({ id, state, reason, now, actor, ifRevision }) =>
      write(() => {
        const device = found(id)
        if (device === undefined) return undefined
        if (ifRevision !== undefined && ifRevision !== device.revision)
          throw new FleetError('precondition_failed', `device ${id} has changed since`)
        const stays = device.state === state || (state === 'revoked' && device.state === 'retired')
        if (stays && reason === 'keyCompromise' && isEnded(device.state)) {
          // learnt late: the certificates are void, but nobody knows why, and the key could be certified again
          if (unreported.get({ id }) === undefined) return device
          revise.run(id)
          tell({ id, now, actor, action: 'device.key_compromised', details: end(id, reason, now) })
          return found(id)
        }
        if (device.state === state) return device
        if (!DEVICE_MOVES[device.state].includes(state))
          throw new FleetError('conflict', `a device that is ${device.state} cannot become ${state}`)
        move.run(state, now, id)
        tell({ id, now, actor, action: ACTIONS[state], details: isEnded(state) ? end(id, reason, now) : {} })
        return found(id)
      }),
    recordSightings: (sightings, inboxCursor, now) =>
      write(() => {
        for (const { fingerprint, at } of sightings) if (at <= now) see.run({ fingerprint, at })
        keepCursor.run(inboxCursor)
      }),
    inboxCursor: () => read(() => cursor.get()),
  }
}
