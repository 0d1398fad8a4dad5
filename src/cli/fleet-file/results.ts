/**
 * The result file of an import: one JSON object a row, written as soon as the desk has answered. It is also the bookmark: an import that
 * was cut off goes on after the last row in it, if the file of devices is still the same.
 */

import { createHash } from 'node:crypto'
import { appendFileSync, createReadStream, existsSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { FleetError } from '#fleet/errors.ts'
import type { ImportResult } from '#wire/bulk.ts'

export type RowResult = ImportResult & { readonly row: number }

export type Results = {
  /** rows that have a result already */
  readonly done: number
  /** of the rows done before, by result */
  readonly counts: Readonly<Record<string, number>>
  append(results: readonly RowResult[]): void
}

const digestOf = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array)
  return hash.digest('hex')
}

type Bookmark = { done: number; whole: number; counts: Record<string, number>; source: string | undefined }

/** A last line that was cut off by a crash does not count; the row is sent again, which changes nothing. */
const readBookmark = async (path: string): Promise<Bookmark> => {
  const { size } = statSync(path)
  const mark: Bookmark = { done: 0, whole: 0, counts: {}, source: undefined }
  for await (const line of createInterface({ input: createReadStream(path, 'utf8') })) {
    const end = mark.whole + Buffer.byteLength(line) + 1
    if (end > size) break
    try {
      const { source_sha256: source, row, result } = JSON.parse(line) as Record<string, unknown>
      if (typeof source === 'string') mark.source = source
      else if (row === mark.done + 1 && typeof result === 'string') {
        mark.done += 1
        mark.counts[result] = (mark.counts[result] ?? 0) + 1
      } else break
    } catch {
      break
    }
    mark.whole = end
  }
  return mark
}

const lineOf = (value: unknown): string => `${JSON.stringify(value)}\n`

/** @throws FleetError `config_invalid`: the result file is that of another file of devices, or is none */
export const openResults = async (path: string, source: string): Promise<Results> => {
  const digest = await digestOf(source)
  const append = (results: readonly RowResult[]): void => {
    appendFileSync(path, results.map(lineOf).join(''))
  }
  if (!existsSync(path)) {
    writeFileSync(path, lineOf({ source_sha256: digest }), { flag: 'wx' })
    return { done: 0, counts: {}, append }
  }
  const mark = await readBookmark(path)
  if (mark.source !== digest)
    throw new FleetError(
      'config_invalid',
      `${path} has the results of ${mark.source === undefined ? 'something else' : 'another file, or of this one before it was changed'}; give another --results, or remove it`,
    )
  truncateSync(path, mark.whole)
  return { done: mark.done, counts: mark.counts, append }
}
