/** ETag and If-Match (RFC 9110 §8.8.3, §13.1.1) over revisions: one number, one strong tag. Not If-None-Match on reads: nothing is cached. */

import { hash } from 'node:crypto'
import { FleetError } from '#fleet/errors.ts'

export const etagOf = (revision: number): string => `"${revision}"`

/** For what has no revision: of its whole representation. */
export const etagOfBody = (body: unknown): string => `"${hash('sha256', JSON.stringify(body)).slice(0, 32)}"`

/** Of a PUT, for the registry: a revision of 0 means that there must be nothing yet. @throws FleetError `precondition_failed` */
export const preconditionOf = (headers: {
  readonly 'if-match'?: string | undefined
  readonly 'if-none-match'?: string | undefined
}): { readonly ifRevision: number | undefined; readonly mustExist: boolean } => ({
  ifRevision: headers['if-none-match'] === '*' ? 0 : revisionOf(headers['if-match']),
  mustExist: headers['if-match'] === '*',
})

/**
 * @returns undefined: any revision will do. A tag that can be none of ours (weak, or of something else) matches nothing.
 * @throws FleetError `precondition_failed`
 */
export const revisionOf = (ifMatch: string | undefined): number | undefined => {
  if (ifMatch === undefined || ifMatch === '*') return undefined
  const [, digits] = /^"(\d{1,15})"$/.exec(ifMatch) ?? []
  if (digits === undefined)
    throw new FleetError('precondition_failed', 'If-Match is not the ETag of this thing')
  return Number(digits)
}

/** @throws FleetError `precondition_failed` */
export const checkIfMatch = (ifMatch: string | undefined, etag: string): void => {
  if (ifMatch === undefined || ifMatch === '*' || ifMatch === etag) return
  throw new FleetError('precondition_failed', 'it has changed since you read it')
}
