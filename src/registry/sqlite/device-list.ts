/**
 * Devices by what they show as and by group, a page at a time. Each question walks the index that has fewest rows for it, in pieces, with
 * the event loop turning in between: what no index knows (a small group's active devices, say) costs time and never holds anybody up.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { conditionOf, type DeviceCondition, type DeviceState, type Device } from '#fleet/device.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Page, Paged } from '../page.ts'
import type { Handle } from './handle.ts'
import { rowsToRead, toPage } from './pages.ts'
import { DEVICE_COLUMNS, type DeviceRow, toDevice } from './rows.ts'
import type { Tools } from './verbs.ts'

/** Rows read in one turn of the event loop: about 5 ms. */
const PIECE = 2_000

type Ask = Page & {
  readonly condition?: DeviceCondition | undefined
  readonly group?: string | undefined
  readonly now: number
}

/** One order of devices. `keyOf` is what `next` says, and where `rows` goes on. */
type Walk = {
  rows(after: string, limit: number): readonly DeviceRow[]
  keyOf(row: DeviceRow): string
}

const byId = (row: DeviceRow): string => row.id
const byRenewal = (row: DeviceRow): string => `${row.renew_at}.${row.id}`

/** @throws FleetError `bad_request` */
const renewalAfter = (after: string): readonly [number, string] => {
  if (after === '') return [-1, '']
  const [, at, id] = /^(\d{1,15})\.(.{1,64})$/s.exec(after) ?? []
  if (at === undefined || id === undefined)
    throw new FleetError('bad_request', 'after: not the next of a page')
  return [Number(at), id]
}

export const createDeviceList = (
  database: Handle,
  read: Tools['read'],
): ((ask: Ask) => Promise<Paged<Device>>) => {
  const all = database.prepare<[string, number], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where id > ? order by id limit ?`,
  )
  const ofGroup = database.prepare<[string, string, number], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where group_name = ? and id > ? order by id limit ?`,
  )
  // the first term names the partial index
  const inactive = database.prepare<[DeviceState, string, number], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices where state <> 'active' and state = ? and id > ? order by id limit ?`,
  )
  const due = database.prepare<[number, number, string, number], DeviceRow>(
    `select ${DEVICE_COLUMNS} from devices
     where state = 'active' and renew_at is not null and renew_at <= ? and (renew_at, id) > (?, ?) order by renew_at, id limit ?`,
  )

  const walkOf = ({ condition, group, now }: Ask): Walk => {
    if (condition === 'renewal_due' || condition === 'expired')
      return { rows: (after, limit) => due.all(now, ...renewalAfter(after), limit), keyOf: byRenewal }
    if (condition !== undefined && condition !== 'active')
      return { rows: (after, limit) => inactive.all(condition, after, limit), keyOf: byId }
    return group === undefined
      ? { rows: (after, limit) => all.all(after, limit), keyOf: byId }
      : { rows: (after, limit) => ofGroup.all(group, after, limit), keyOf: byId }
  }

  return async (ask) => {
    const { condition, group, now } = ask
    const { rows, keyOf } = walkOf(ask)
    const wanted = rowsToRead(ask)
    const isMeant = (row: DeviceRow): boolean =>
      (group === undefined || row.group_name === group) &&
      (condition === undefined ||
        conditionOf(
          { state: row.state, renewAt: row.renew_at ?? undefined, expiresAt: row.expires_at ?? undefined },
          now,
        ) === condition)
    const found: DeviceRow[] = []
    let after = ask.after ?? ''
    // the first piece is enough when the index knows it all
    for (let piece = wanted; ; piece = PIECE) {
      const from = after
      const some = await read(() => rows(from, piece))
      found.push(...some.filter(isMeant))
      const last = some.at(-1)
      if (found.length >= wanted || some.length < piece || last === undefined) break
      after = keyOf(last)
      await nextTurn()
    }
    return toPage(ask, found.slice(0, wanted), keyOf, toDevice)
  }
}
