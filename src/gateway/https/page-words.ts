/** What a person in front of a browser is told: by status what has happened; what to do about it is advice.ts's where it is a denial. */

import type { ErrorCode } from '#fleet/errors.ts'
import { ADVICE, SOON, type Advice } from './advice.ts'

/** What has happened; by the first digit where the status has no words of its own. */
const HEADINGS: Readonly<Record<number, string>> = {
  400: 'This request cannot be read',
  401: 'Your access has ended',
  403: 'Access denied',
  404: 'There is nothing here',
  405: 'This cannot be done here',
  408: 'That took too long',
  413: 'That is too large',
  421: 'This address does not fit the connection',
  422: 'This cannot be done here',
  429: 'Too many requests',
  500: 'Something is broken on our side',
  502: 'The application cannot be reached',
  503: 'Not available at the moment',
  504: 'The application did not answer in time',
}

const BY_KIND: Readonly<Record<number, string>> = {
  4: 'Go back and try again. If it lasts, tell your administrator.',
  5: SOON,
}

export type Words = { readonly heading: string; readonly advice: string }

const forDenials: Readonly<Partial<Record<ErrorCode, Advice>>> = ADVICE

export const wordsFor = (code: ErrorCode, status: number): Words => {
  const kind = status < 500 ? 4 : 5
  return {
    heading:
      HEADINGS[status] ?? (kind === 4 ? 'This cannot be done here' : 'Something is broken on our side'),
    advice: forDenials[code]?.person ?? (BY_KIND[kind] as string),
  }
}
