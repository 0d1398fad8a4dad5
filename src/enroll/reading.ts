/** What readers of bodies share: a refusal names its field and says what was expected. Not what any one field may hold. */

import { formatDuration, parseDuration } from '#fleet/duration.ts'
import { FleetError } from '#fleet/errors.ts'

/** @param where the field, as it is written */
export const bad = (where: string, detail: string): FleetError =>
  new FleetError('bad_request', `${where}: ${detail}`)

/** A refusal inside something bigger says where: what `read` throws, with `where` before it. */
export const within = <T>(where: string, read: () => T): T => {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FleetError)) throw error
    throw new FleetError(error.code, `${where}: ${error.detail}`, { cause: error })
  }
}

/** @throws FleetError `bad_request` when one of them is there twice */
export const once = <T extends string>(where: string, values: readonly T[]): readonly T[] => {
  const twice = values.find((value, at) => values.indexOf(value) < at)
  if (twice !== undefined) throw bad(where, `${twice} is there twice`)
  return values
}

/** ms, both ends included */
export type Range = { readonly min: number; readonly max: number }

/** @returns ms. @throws FleetError `bad_request` */
export const durationOf = (where: string, text: string, { min, max }: Range): number => {
  const ms = parseDuration(text)
  if (ms === undefined) throw bad(where, 'write a duration such as 90s, 1h or 30d')
  if (ms < min || ms > max) throw bad(where, `must be from ${formatDuration(min)} to ${formatDuration(max)}`)
  return ms
}
