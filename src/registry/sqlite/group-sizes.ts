/**
 * How many devices of a group are not retired, kept beside them: to count a million for each enrolment would be slow. Only of groups that
 * have ever had a quota of devices, counted once and then moved by whoever writes devices, in the same transaction.
 */

import type { DeviceState } from '#fleet/device.ts'
import type { Handle } from './handle.ts'

/** Where a device is, or comes to be; undefined: nowhere. */
export type Membership = { readonly group: string; readonly state: DeviceState } | undefined

export type GroupSizes = {
  /** Counts the devices of a group, once in its life. In a transaction of its own, for a refusal would undo it. */
  begin(group: string): void
  /** of a group that was begun */
  size(group: string): number
  move(from: Membership, to: Membership): void
}

/** The groups that are counted, of each open database: most have none, and an enrolment is spared a statement. */
const counted = new WeakMap<Handle, Set<string>>()

const countedIn = (place: Membership): string | undefined =>
  place?.state === 'retired' ? undefined : place?.group

export const createGroupSizes = (database: Handle): GroupSizes => {
  const sizeOf = database
    .prepare<[string], number>('select devices from group_sizes where group_name = ?')
    .pluck()
  const count = database.prepare(
    `insert into group_sizes (group_name, devices)
     select :group, (select count(*) from devices where group_name = :group and state <> 'retired')
     where not exists (select 1 from group_sizes where group_name = :group)`,
  )
  const add = database.prepare('update group_sizes set devices = devices + ? where group_name = ?')
  const groups =
    counted.get(database) ??
    new Set(database.prepare<[], string>('select group_name from group_sizes').pluck().all())
  counted.set(database, groups)
  return {
    begin: (group) => {
      count.run({ group })
      // if this transaction fails, an update that finds no row does no harm
      groups.add(group)
    },
    size: (group) => sizeOf.get(group) ?? 0,
    move: (from, to) => {
      const [left, entered] = [countedIn(from), countedIn(to)]
      if (left === entered) return
      if (left !== undefined && groups.has(left)) add.run(-1, left)
      if (entered !== undefined && groups.has(entered)) add.run(1, entered)
    },
  }
}
