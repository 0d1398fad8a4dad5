/**
 * Certificates of all devices or of one, newest first, a page at a time, as far back as there are any. Rows are looked at in pieces, with the event
 * loop turning in between: a filter that fits few takes its time and holds nobody up.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { FleetError } from '#fleet/errors.ts'
import type { RevocationMemory } from '../revocations.ts'
import type { Handle } from './handle.ts'
import { rowsToRead, toPage } from './pages.ts'
import { type CertificateSummaryRow, SELECT_SUMMARY, toSummary } from './rows.ts'
import type { Tools } from './verbs.ts'

/** Rows that are looked at in one turn of the event loop, about 3 ms. */
const PIECE = 5_000

type Filter = {
  readonly device: string | undefined
  readonly state: string | null
  readonly issuer: string | null
}

/** Newest first needs no index of its own. @throws FleetError `bad_request` */
const numberBefore = (after: string | undefined): number => {
  if (after === undefined) return Number.MAX_SAFE_INTEGER
  if (!/^\d{1,15}$/.test(after)) throw new FleetError('bad_request', 'after: not the next of a page')
  return Number(after)
}

export const createCertificateList = (
  database: Handle,
  read: Tools['read'],
): RevocationMemory['listCertificates'] => {
  /** @param among SQL: the index to walk, and whose it is. `from`: where a piece ends */
  const walk = (index: string, among: string) => ({
    from: database
      .prepare<Pick<Filter, 'device'> & { readonly before: number }, number | null>(
        `select min(number) from (
           select number from certificates ${index} where ${among} number < :before order by number desc limit ${PIECE})`,
      )
      .pluck(),
    rows: database.prepare<
      Filter & { readonly from: number; readonly before: number; readonly limit: number },
      CertificateSummaryRow
    >(`
      ${SELECT_SUMMARY} ${index} where ${among} number >= :from and number < :before and state <> 'intended'
      and (:state is null or +state = :state) and (:issuer is null or +issuer_ski = :issuer) order by number desc limit :limit`),
  })
  const ofAll = walk('', '')
  // `+` as in doors.ts
  const ofDevice = walk('indexed by certificates_by_device', 'device_id = +:device and')

  return async (page) => {
    const { deviceId: device, state = null, issuerSki: issuer = null } = page
    const walked = device === undefined ? ofAll : ofDevice
    const wanted = rowsToRead(page)
    const rows: CertificateSummaryRow[] = []
    let before = numberBefore(page.after)
    while (rows.length < wanted) {
      const more = await read(() => {
        const from = walked.from.get({ device, before })
        if (from === undefined || from === null) return undefined
        const limit = wanted - rows.length
        return { from, rows: walked.rows.all({ device, state, issuer, from, before, limit }) }
      })
      if (more === undefined) break
      rows.push(...more.rows)
      before = more.from
      await nextTurn()
    }
    return toPage(page, rows, ({ number }) => number, toSummary)
  }
}
