/**
 * When devices were last cut, so that a gateway which was away hears of it: what it, or the broker behind it, keeps for them goes. Not the cutting:
 * each verb that does it writes {@link CUT_AT}.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { Cut } from '../registry.ts'
import type { Handle } from './handle.ts'

/** To be set with `?` now, ms. What is on record may be later, by a clock that was ahead: the cuts before it must stay before. */
export const CUT_AT = 'cut_at = max(?, (select newest from recorded_time))'

/** Functions that throw SqliteError. */
export const createCuts = (database: Handle) => {
  const cutAt = database.prepare<[string], { readonly id: string; readonly at: number | null }>(
    'select id, cut_at as at from devices where id = ?',
  )
  // the first term names the partial index
  const since = database.prepare<
    [number, string, number],
    { readonly id: DeviceId; readonly at: number; readonly isCut: 0 | 1 }
  >(
    `select id, cut_at as at, state in ('suspended', 'revoked', 'retired') as isCut from devices
     where cut_at is not null and (cut_at, id) > (+?, +?) order by cut_at, id limit +?`,
  )
  return {
    wasCut: (deviceId: DeviceId, from: number): number | undefined => {
      const row = cutAt.get(deviceId)
      // the column does not tell case apart: 001_registry.sql
      return row?.id === deviceId && row.at !== null && row.at >= from ? row.at : undefined
    },
    cutDevices: (from: number, after: DeviceId | undefined, limit: number): readonly Cut[] =>
      since
        .all(from, after ?? '', limit)
        .map(({ id, at, isCut }) => ({ deviceId: id, at, isCut: isCut === 1 })),
  }
}
