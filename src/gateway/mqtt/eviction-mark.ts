/**
 * Up to where what brokers keep for devices that were cut has been ended, in a small file beside the store, so that a gateway which was away knows
 * where to go on. Not what is done about it: ./evictions.ts. Losing the file costs work, not safety: without it, everybody who is cut is.
 */

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Log } from '#runtime/log.ts'

/** Every cut before `at` (ms, RegistryReader.wasCut's) is dealt with, and of those at `at` the devices in `ids`. */
export type Mark = { readonly at: number; readonly ids: readonly string[] }

/** Ids in the file. Of more that were cut in one millisecond all are dealt with once more after a start. */
const MOST_IDS = 1_000
/** Octets of a file that this one has written. */
const LARGEST = 256 * 1024

const isMark = (value: unknown): value is Mark => {
  if (typeof value !== 'object' || value === null || !('at' in value) || !('ids' in value)) return false
  const { at, ids } = value
  return (
    Number.isSafeInteger(at) &&
    (at as number) >= 0 &&
    Array.isArray(ids) &&
    ids.every((id) => typeof id === 'string')
  )
}

/** @returns undefined: there is none that can be read */
export const readMark = (path: string, log: Log): Mark | undefined => {
  try {
    const text = readFileSync(path, 'utf8')
    const value: unknown = text.length > LARGEST ? undefined : JSON.parse(text)
    if (isMark(value)) return value
    log.warn(
      { path },
      'the mark of the MQTT door cannot be read: every device that is cut is dealt with again',
    )
  } catch (err) {
    const missing = err instanceof Error && 'code' in err && err.code === 'ENOENT'
    if (!missing)
      log.warn(
        { err },
        'the mark of the MQTT door cannot be read: every device that is cut is dealt with again',
      )
  }
  return undefined
}

/** Never half of it. @throws Error when it cannot be written */
export const writeMark = (path: string, { at, ids }: Mark): void => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const next = `${path}.new`
  writeFileSync(next, `${JSON.stringify({ at, ids: ids.length > MOST_IDS ? [] : ids })}\n`, { mode: 0o600 })
  renameSync(next, path)
}
