/** Registered devices and blocked keys: what is known before anybody enrols. Not the rules of a line: #enroll/import-devices.ts. */

import type { DeviceState } from '#fleet/device.ts'
import { FIRST_GROUP } from '#fleet/enrollment-group.ts'
import type { Tags } from '#fleet/tags.ts'
import type { FleetListMemory, Registration, RegistrationResult } from '../fleet-lists.ts'
import { createGroupSizes } from './group-sizes.ts'
import { createKeys } from './keys.ts'
import { rowsToRead, toPage } from './pages.ts'
import { createGroups } from './snapshot.ts'
import type { Tools } from './verbs.ts'

type DeviceRow = {
  readonly id: string
  readonly state: DeviceState
  readonly group_name: string
  readonly tags: string
  readonly registered_spki: string | null
}
type BlockedRow = { readonly spki_sha256: string; readonly compromised_at: number }

type Outcome = Omit<RegistrationResult, 'id'>

const refused = (reason: NonNullable<RegistrationResult['reason']>): Outcome => ({
  result: 'refused',
  reason,
})

/** One text for the same tags, in whatever order they came. */
const textOf = (tags: Tags): string =>
  JSON.stringify(Object.fromEntries(Object.entries(tags).toSorted(([a], [b]) => (a < b ? -1 : 1))))

/** A device that never enrolled: its key can still be another one, and its state is what the line says. */
const isNew = (state: DeviceState, enrolled: boolean): boolean =>
  state === 'registered' || (state === 'suspended' && !enrolled)

export const fleetListVerbs = ({ database, journal, write, read }: Tools): FleetListMemory => {
  const find = database.prepare<[string], DeviceRow>(
    'select id, state, group_name, tags, registered_spki from devices where id = ?',
  )
  const hasEnrolled = database
    .prepare<[string], 1>('select 1 from certificates where device_id = +? limit 1')
    .pluck()
  const add = database.prepare(`
    insert into devices (id, state, state_since, group_name, tags, created_at, registered_spki, revision)
    values (:id, :state, :now, :group, :tags, :now, :spki, 1)`)
  const change = database.prepare(`
    update devices set state = :state, state_since = case when state = :state then state_since else :now end,
      group_name = :group, tags = :tags, registered_spki = :spki, revision = revision + 1 where id = :id`)
  const findKey = createKeys(database)
  const sizes = createGroupSizes(database)
  const groups = createGroups(database, journal.accessChanges)
  /** Groups whose devices are counted. */
  const begun = new Set<string>()
  const reserveKey = database.prepare(
    'insert into device_keys (spki_sha256, device_id) values (?, ?) on conflict do nothing',
  )
  const releaseKey = database.prepare(
    'delete from device_keys where spki_sha256 = ? and device_id = ? and compromised_at is null',
  )
  const block = database.prepare(`
    insert into device_keys (spki_sha256, compromised_at) values (:spki, :now)
    on conflict (spki_sha256) do update set compromised_at = :now where compromised_at is null`)
  const unblock = database.prepare(
    'delete from device_keys where spki_sha256 = ? and device_id is null returning 1',
  )
  const blocked = database.prepare<[string, number], BlockedRow>(
    `select spki_sha256, compromised_at from device_keys
     where compromised_at is not null and spki_sha256 > ? order by spki_sha256 limit ?`,
  )

  const keyRefusal = (line: Registration): Outcome | undefined => {
    const key = line.spkiSha256 === undefined ? undefined : findKey(line.spkiSha256)
    if (key === undefined) return undefined
    if (key.compromised_at !== null) return refused('key_compromised')
    return key.device_id === line.id ? undefined : refused('key_in_use')
  }

  /** Groups with a quota of devices are counted from the first time that somebody asks. */
  const beginCounting = async (lines: readonly Registration[]): Promise<void> => {
    for (const group of new Set(lines.map((line) => line.group ?? FIRST_GROUP))) {
      if (begun.has(group) || groups().get(group)?.quotas.devices === undefined) continue
      await write(() => sizes.begin(group))
      begun.add(group)
    }
  }
  const isFull = (group: string): boolean => {
    const most = groups().get(group)?.quotas.devices
    return most !== undefined && sizes.size(group) >= most
  }

  const create = (line: Registration, now: number): Outcome => {
    const no = keyRefusal(line)
    if (no !== undefined) return no
    const { id, group = FIRST_GROUP, tags = {}, state = 'registered', spkiSha256: spki = null } = line
    if (isFull(group)) return refused('quota_exceeded')
    add.run({ id, state, now, group, tags: textOf(tags), spki })
    sizes.move(undefined, { group, state })
    // the key is this device's from now on: whoever else comes with it is refused
    if (spki !== null) reserveKey.run(spki, id)
    return { result: 'created' }
  }

  const update = (line: Registration, stored: DeviceRow, now: number): Outcome => {
    const { id, spkiSha256 } = line
    if (stored.id !== id) return refused('device_exists')
    const fresh = isNew(stored.state, hasEnrolled.get(id) !== undefined)
    if (!fresh && spkiSha256 !== undefined && spkiSha256 !== stored.registered_spki)
      return refused('device_exists')
    const spki = spkiSha256 ?? stored.registered_spki
    const state = fresh ? (line.state ?? stored.state) : stored.state
    const group = line.group ?? stored.group_name
    const tags = line.tags === undefined ? stored.tags : textOf(line.tags)
    const same =
      stored.group_name === group &&
      (line.tags === undefined || textOf(JSON.parse(stored.tags) as Tags) === tags) &&
      stored.registered_spki === spki &&
      stored.state === state
    if (same) return { result: 'unchanged' }
    const no = spki === stored.registered_spki ? undefined : keyRefusal(line)
    if (no !== undefined) return no
    if (group !== stored.group_name && stored.state !== 'retired' && isFull(group))
      return refused('quota_exceeded')
    change.run({ id, state, now, group, tags, spki })
    sizes.move({ group: stored.group_name, state: stored.state }, { group, state })
    if (spki !== stored.registered_spki) {
      if (stored.registered_spki !== null) releaseKey.run(stored.registered_spki, id)
      if (spki !== null) reserveKey.run(spki, id)
    }
    // policies and topics may depend on group and tags
    if (!fresh) journal.change({ kind: 'device', deviceId: id })
    return { result: 'updated' }
  }

  const one = (line: Registration, now: number): RegistrationResult => {
    const stored = find.get(line.id)
    return { id: line.id, ...(stored === undefined ? create(line, now) : update(line, stored, now)) }
  }

  return {
    registerDevices: async (lines, now, actor) => {
      await beginCounting(lines)
      return write(() => {
        const results = lines.map((line) => one(line, now))
        const counts = Object.fromEntries(
          Object.entries(Object.groupBy(results, ({ result }) => result)).map(([result, all]) => [
            result,
            all.length,
          ]),
        )
        if (counts['created'] !== undefined || counts['updated'] !== undefined)
          journal.audit({ at: now, actor, action: 'devices.registered', subject: 'devices', details: counts })
        return results
      })
    },
    blockKeys: (spkis, now, actor) =>
      write(() => {
        const blockedNow = spkis.filter((spki) => block.run({ spki, now }).changes > 0).length
        if (blockedNow > 0)
          journal.audit({
            at: now,
            actor,
            action: 'keys.blocked',
            subject: 'keys',
            details: { count: blockedNow, first: spkis[0] },
          })
        return blockedNow
      }),
    unblockKey: (spki, now, actor) =>
      write(() => {
        if (unblock.get(spki) === undefined) return false
        journal.audit({ at: now, actor, action: 'key.unblocked', subject: spki })
        return true
      }),
    listBlockedKeys: (page) =>
      read(() =>
        toPage(
          page,
          blocked.all(page.after ?? '', rowsToRead(page)),
          (row) => row.spki_sha256,
          (row) => ({ spkiSha256: row.spki_sha256, blockedAt: row.compromised_at }),
        ),
      ),
  }
}
