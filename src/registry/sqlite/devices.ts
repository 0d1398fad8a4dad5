/** Devices: found, listed, moved from state to state, seen. Not how they come to be: that is issuance.ts. */

import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { DEVICE_MOVES, type DeviceState, isEnded } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import { MOST_SHOWN } from '../registry.ts'
import { CUT_AT } from './cuts.ts'
import { createDeviceList } from './device-list.ts'
import { createEnding } from './ending.ts'
import { createGroupSizes } from './group-sizes.ts'
import { createKeys } from './keys.ts'
import {
  type CertificateSummaryRow,
  DEVICE_COLUMNS,
  type DeviceRow,
  SELECT_SUMMARY,
  toDevice,
  toSummary,
} from './rows.ts'
import { createLogouts } from './session-revocations.ts'
import { createSlots } from './slots.ts'
import type { Tools, Verbs } from './verbs.ts'

const ACTIONS: Readonly<Record<DeviceState, string>> = {
  registered: 'device.resumed',
  active: 'device.resumed',
  suspended: 'device.suspended',
  revoked: 'device.revoked',
  retired: 'device.retired',
}

export const deviceVerbs = (
  tools: Tools,
): Verbs<
  'findDevice' | 'listDevices' | 'certificatesOf' | 'setDeviceState' | 'recordSightings' | 'inboxCursor'
> => {
  const { database, journal, write, read } = tools
  const find = database.prepare<[string], DeviceRow>(`select ${DEVICE_COLUMNS} from devices where id = ?`)
  const certificates = database.prepare<[string], CertificateSummaryRow>(
    `${SELECT_SUMMARY} where device_id = +? and state <> 'intended' order by number desc limit ${MOST_SHOWN}`,
  )
  const move = database.prepare(
    'update devices set state = ?, state_since = ?, revision = revision + 1 where id = ?',
  )
  const cut = database.prepare(`update devices set ${CUT_AT} where id = ?`)
  const hasCertificate = database
    .prepare<[string], 1>('select 1 from certificates where device_id = +? limit 1')
    .pluck()
  const revise = database.prepare('update devices set revision = revision + 1 where id = ?')
  const findSeen = database.prepare<[string], CertificateSummaryRow>(
    `${SELECT_SUMMARY} where fingerprint = +?`,
  )
  const see = database.prepare(
    'update devices set last_seen_at = :at where id = :id and coalesce(last_seen_at, -1) < :at',
  )
  const cursor = database.prepare<[], string>('select cursor from inbox_cursor').pluck()
  const keepCursor = database.prepare(
    'insert into inbox_cursor (one, cursor) values (1, ?) on conflict (one) do update set cursor = excluded.cursor',
  )
  const unreported = database
    .prepare<{ readonly id: string }, 1>(
      `select 1 from certificates c left join device_keys k using (spki_sha256)
       where c.device_id = +:id and (k.compromised_at is null or c.revocation_reason <> 'keyCompromise')
       union all
       select 1 from devices d join device_keys k on k.spki_sha256 = d.registered_spki
       where d.id = +:id and k.device_id = d.id and k.compromised_at is null
       limit 1`,
    )
    .pluck()
  const newRevocations = database.prepare(
    `update issuers set revocation_version = revocation_version + 1
     where ski in (select issuer_ski from certificates where device_id = +?)`,
  )
  const end = createEnding(tools)
  const slots = createSlots(tools)
  const findKey = createKeys(database)
  const sizes = createGroupSizes(database)
  const logOut = createLogouts(tools)
  const found = (id: string) => {
    const row = find.get(id)
    // the column does not tell case apart: 001_registry.sql
    return row?.id === id ? toDevice(row) : undefined
  }

  const sight = (fingerprint: string, at: number, now: number): void => {
    const row = at <= now ? findSeen.get(fingerprint) : undefined
    if (row === undefined) return
    see.run({ id: row.device_id, at })
    // Whenever it was, late or not: who was let in uses it, and has perhaps no other certificate left. What has been withdrawn stays so.
    if (row.state !== 'pending' || now > row.not_after) return
    if (find.get(row.device_id)?.state !== 'active') return
    // who has a stolen key does not get the place of the device by walking through a door
    if ((findKey(row.spki_sha256)?.compromised_at ?? null) !== null) return
    slots.confirm(row, now, 'system')
  }

  /** What an operator did to a device: audit, change row, and a new version for the CRLs that may list it. */
  const tell = (o: {
    readonly id: DeviceId
    readonly now: number
    readonly actor: Actor
    readonly action: string
    readonly details: Readonly<Record<string, unknown>>
  }): void => {
    const { id, now, actor, action, details } = o
    journal.audit({ at: now, actor, action, subject: id, details })
    journal.change({ kind: 'device', deviceId: id })
    newRevocations.run(id)
  }

  return {
    findDevice: (id) => read(() => found(id)),
    listDevices: createDeviceList(database, read),
    certificatesOf: (id) => read(() => certificates.all(id).map(toSummary)),
    setDeviceState: ({ id, state: asked, reason, now, actor, ifRevision }) =>
      write(() => {
        const device = found(id)
        if (device === undefined) return undefined
        if (ifRevision !== undefined && ifRevision !== device.revision)
          throw new FleetError('precondition_failed', `device ${id} has changed since`)
        const stays = device.state === asked || (asked === 'revoked' && device.state === 'retired')
        if (stays && reason === 'keyCompromise' && isEnded(device.state)) {
          // learnt late: the certificates are void, but nobody knows why, and the key could be certified again
          if (unreported.get({ id }) === undefined) return device
          revise.run(id)
          cut.run(now, id)
          const { details } = end(id, reason, now)
          tell({ id, now, actor, action: 'device.key_compromised', details })
          return found(id)
        }
        if (device.state === asked) return device
        if (!DEVICE_MOVES[device.state].includes(asked))
          throw new FleetError('conflict', `a device that is ${device.state} cannot become ${asked}`)
        // An `intended` row counts: its id is somebody's, who may come back for it.
        const state = asked === 'active' && hasCertificate.get(id) === undefined ? 'registered' : asked
        move.run(state, now, id)
        if (state === 'suspended' || isEnded(state)) cut.run(now, id)
        sizes.move(device, { ...device, state })
        const details = isEnded(state) ? end(id, reason, now).details : {}
        tell({ id, now, actor, action: ACTIONS[state], details })
        return found(id)
      }),
    recordSightings: (sightings, inboxCursor, now, logouts = []) =>
      write(() => {
        for (const { fingerprint, at } of sightings) sight(fingerprint, at, now)
        logOut(logouts, now)
        keepCursor.run(inboxCursor)
      }),
    inboxCursor: () => read(() => cursor.get()),
  }
}
