/** Keyset paging: a page starts after a key, so that rows that come and go meanwhile neither repeat nor hide others. */

import { FleetError } from '#fleet/errors.ts'
import type { Page, Paged } from '../page.ts'

const MOST = 1_000

/** @returns rows to ask for: one more than the page, to see whether there is a next one */
export const rowsToRead = (page: Page): number => Math.min(Math.max(Math.trunc(page.limit), 1), MOST) + 1

/** The key of a numbered table. @throws FleetError `bad_request` */
export const numberAfter = (page: Page): number => {
  if (page.after === undefined) return 0
  if (!/^\d{1,15}$/.test(page.after)) throw new FleetError('bad_request', 'after: not the next of a page')
  return Number(page.after)
}

/** @param rows what {@link rowsToRead} asked for, in order of their key */
export const toPage = <Row, T>(
  page: Page,
  rows: readonly Row[],
  keyOf: (row: Row) => string | number,
  toItem: (row: Row) => T,
): Paged<T> => {
  const items = rows.slice(0, rowsToRead(page) - 1)
  const last = items.at(-1)
  return {
    items: items.map(toItem),
    next: rows.length > items.length && last !== undefined ? String(keyOf(last)) : undefined,
  }
}
