/** Devices: found, listed, moved from state to state, seen. Not how they come to be: that is issuance.ts. */

import type { DeviceState } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import { rowsToRead, toPage } from './pages.ts'
import {
  type CertificateRow,
  DEVICE_COLUMNS,
  type DeviceRow,
  SELECT_CERTIFICATE,
  toCertificate,
  toDevice,
} from './rows.ts'
import type { Tools, Verbs } from './verbs.ts'

/** From each state, where it may go. `revoked` → `active` is a token's work: issuance.ts. */
const MOVES: Readonly<Record<DeviceState, readonly DeviceState[]>> = {
  active: ['suspended', 'revoked', 'retired'],
  suspended: ['active', 'revoked', 'retired'],
  revoked: ['retired'],
  retired: [],
}

const ACTIONS: Readonly<Record<DeviceState, string>> = {
  active: 'device.resumed',
  suspended: 'device.suspended',
  revoked: 'device.revoked',
  retired: 'device.retired',
}

const isEnd = (state: DeviceState): boolean => state === 'revoked' || state === 'retired'

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
  const certificates = database.prepare<[string], CertificateRow>(
    `${SELECT_CERTIFICATE} where device_id = +? and state <> 'intended' order by number desc`,
  )
  const move = database.prepare(
    'update devices set state = ?, state_since = ?, revision = revision + 1 where id = ?',
  )
  // an `intended` row too: it may have been signed. What was revoked keeps its date; a compromise replaces a lesser reason.
  const revokeCertificates = database.prepare(`
    update certificates set state = 'revoked', revoked_at = coalesce(revoked_at, :now),
      revocation_reason = case when revocation_reason is null or :reason = 'keyCompromise' then :reason else revocation_reason end
    where device_id = :id`)
  const compromiseKeys = database.prepare(
    `update device_keys set compromised_at = coalesce(compromised_at, :now)
     where spki_sha256 in (select spki_sha256 from certificates where device_id = :id)`,
  )
  const revokeTokens = database.prepare(
    'update claim_tokens set revoked_at = :now where device_id = :id and revoked_at is null',
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
  const rowsIn = (state: DeviceState | undefined, after: string, limit: number): DeviceRow[] => {
    if (state === undefined) return list.all(after, limit)
    return state === 'active' ? listActive.all(after, limit) : listInactive.all(state, after, limit)
  }

  return {
    findDevice: (id) => read(() => found(id)),
    listDevices: (page) =>
      read(() => {
        const [after, limit] = [page.after ?? '', rowsToRead(page)]
        return toPage(page, rowsIn(page.state, after, limit), (row) => row.id, toDevice)
      }),
    certificatesOf: (id) => read(() => certificates.all(id).map(toCertificate)),
    setDeviceState: ({ id, state, reason, now, actor, ifRevision }) =>
      write(() => {
        const device = found(id)
        if (device === undefined) return undefined
        if (ifRevision !== undefined && ifRevision !== device.revision)
          throw new FleetError('precondition_failed', `device ${id} has changed since`)
        if (device.state === state) return device
        if (!MOVES[device.state].includes(state))
          throw new FleetError('conflict', `a device that is ${device.state} cannot become ${state}`)
        move.run(state, now, id)
        if (isEnd(state)) {
          revokeCertificates.run({ id, now, reason })
          revokeTokens.run({ id, now })
          if (reason === 'keyCompromise') compromiseKeys.run({ id, now })
        }
        journal.audit({
          at: now,
          actor,
          action: ACTIONS[state],
          subject: id,
          details: isEnd(state) ? { reason } : {},
        })
        journal.change({ kind: 'device', deviceId: id })
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
