/**
 * When devices were last cut, so that a gateway which was away hears of it: what it, or the broker behind it, keeps for them goes. Not the cutting:
 * each verb that does it writes {@link CUT_AT}, in the row of the device or, for all that have its certificates, of the issuer.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Cut, RegistryReader } from '../registry.ts'
import type { Handle } from './handle.ts'
import { patiently } from './patience.ts'

/** To be set with `?` now, ms. What is on record may be later, by a clock that was ahead: the cuts before it must stay before. */
export const CUT_AT = 'cut_at = max(?, (select newest from recorded_time))'

/** Devices looked at in one turn of the event loop, some 5 ms, for an issuer that fell. */
const CHUNK = 500

/** After the last cut. */
const NEVER = Number.MAX_SAFE_INTEGER

/** An issuer `i` fell, and the newest certificate that stood then of device `d` was one of it. */
const FELL_WITH = `i.ski = (
  select c.issuer_ski from certificates c
  where c.device_id = d.id and c.state <> 'intended' and c.reserved_at <= i.cut_at and (c.revoked_at is null or c.revoked_at >= i.cut_at)
  order by c.number desc limit 1)`

/** It is cut now. */
const IS_CUT = `(d.state in ('suspended', 'revoked', 'retired') or coalesce((
  select (select state from issuers where ski = c.issuer_ski) = 'revoked' from certificates c
  where c.device_id = d.id and c.state in ('pending', 'live') order by c.number desc limit 1), false))`

const COLUMNS = `d.id, d.last_seen_at as seenAt, ${IS_CUT} as isCut`

type Row = {
  readonly id: DeviceId
  readonly at: number | null
  readonly seenAt: number | null
  readonly isCut: 0 | 1
}

const cutOf = ({ id, seenAt, isCut }: Row, at: number): Cut => ({
  deviceId: id,
  at,
  isCut: isCut === 1,
  seenAt: seenAt ?? undefined,
})

/** @returns verbs of the reader; `wasCut` throws SqliteError */
export const createCuts = (database: Handle): Pick<RegistryReader, 'wasCut' | 'cutDevices'> => {
  const lastCut = database.prepare<[string], Row & { readonly fellAt: number | null }>(`
    select ${COLUMNS}, d.cut_at as at,
      (select max(i.cut_at) from issuers i where i.cut_at is not null and ${FELL_WITH}) as fellAt
    from devices d where d.id = +?`)
  // the first term names the partial index
  const ownCuts = database.prepare<[number, string, number, number], Row & { readonly at: number }>(`
    select ${COLUMNS}, d.cut_at as at from devices d
    where d.cut_at is not null and (d.cut_at, d.id) > (+?, +?) and d.cut_at < +? order by d.cut_at, d.id limit +?`)
  const nextFall = database
    .prepare<[number], number | null>('select min(cut_at) from issuers where cut_at >= ?')
    .pluck()
  const look = database.prepare<{ after: string; at: number; limit: number }, Row & { readonly was: 0 | 1 }>(`
    select ${COLUMNS}, :at as at,
      (d.cut_at is :at or exists (select 1 from issuers i where i.cut_at = :at and ${FELL_WITH})) as was
    from devices d where d.id > :after order by d.id limit :limit`)

  /** All that were cut at that moment, an issuer among them. */
  const cutAt = async (at: number, after: string, limit: number): Promise<readonly Cut[]> => {
    const found: Cut[] = []
    for (let last = after; found.length < limit;) {
      const rows = await patiently(() => look.all({ after: last, at, limit: CHUNK }))
      for (const row of rows) if (row.was === 1) found.push(cutOf(row, at))
      last = rows.at(-1)?.id ?? last
      if (rows.length < CHUNK) break
      await nextTurn()
    }
    return found.slice(0, limit)
  }

  return {
    wasCut: (deviceId, since) => {
      const row = lastCut.get(deviceId)
      // the column does not tell case apart: 001_registry.sql
      if (row?.id !== deviceId) return undefined
      const at = Math.max(row.at ?? -1, row.fellAt ?? -1)
      return at >= 0 && at >= since ? cutOf(row, at) : undefined
    },
    cutDevices: async (since, after, limit) => {
      const found: Cut[] = []
      let [from, last] = [since, after ?? '']
      for (;;) {
        // in one turn, the fall first: of one that comes in between, or after the last page, the feed tells later
        const { fallAt, rows } = await patiently(() => {
          const fall = nextFall.get(from) ?? NEVER
          return { fallAt: fall, rows: ownCuts.all(from, last, fall, limit - found.length) }
        })
        found.push(...rows.map((row) => cutOf(row, row.at)))
        if (fallAt === NEVER || found.length === limit) return found
        found.push(...(await cutAt(fallAt, fallAt === from ? last : '', limit - found.length)))
        if (found.length === limit) return found
        ;[from, last] = [fallAt + 1, '']
      }
    },
  }
}
