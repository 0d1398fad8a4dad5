/** Reads a file of devices row by row, whatever its format; memory does not grow with the file. Not the judging: that is the desk's. */

import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { CsvError, parse } from 'csv-parse'
import { FleetError } from '#fleet/errors.ts'
import { tagsProblem } from '#fleet/tags.ts'
import type { ImportLine } from '#wire/bulk.ts'
import { COLUMNS, type Format } from './format.ts'
import { objectTexts } from './objects.ts'

/** `number`: 1 for the first device. `bytes`: of the file, read so far. `line` undefined: it cannot be read, `problem` says why. */
export type Row = {
  readonly number: number
  readonly bytes: number
  readonly line: ImportLine | undefined
  readonly problem: string | undefined
}

/** Characters of one CSV record. */
const MOST_RECORD = 65_536
const TAG = 'tags.'

type Read = Omit<Row, 'number' | 'bytes'>

const unreadable = (problem: string): Read => ({ line: undefined, problem })

/** The desk would say the same, but of the whole request, to a name that JavaScript treats as its own. */
const lineOf = (line: ImportLine): Read => {
  const problem = line.tags === undefined ? undefined : tagsProblem(line.tags)
  return problem === undefined ? { line, problem } : unreadable(problem)
}

const isTexts = (value: unknown): value is Record<string, string> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((each) => typeof each === 'string')

const tagsFrom = (cells: Readonly<Record<string, string>>): Record<string, string> | undefined => {
  const own = cells['tags'] ?? ''
  let tags: unknown = {}
  try {
    if (own !== '') tags = JSON.parse(own)
  } catch {
    return undefined
  }
  if (!isTexts(tags)) return undefined
  const named = Object.entries(cells).filter(([name, value]) => name.startsWith(TAG) && value !== '')
  return { ...tags, ...Object.fromEntries(named.map(([name, value]) => [name.slice(TAG.length), value])) }
}

const fromCells = (cells: Readonly<Record<string, string>>): Read => {
  const tags = tagsFrom(cells)
  if (tags === undefined) return unreadable('tags: a JSON object of texts, such as {"site":"hall 3"}')
  const { id = '', group, spki_sha256, state } = cells
  return lineOf({
    id,
    ...(group ? { group } : {}),
    ...(Object.keys(tags).length > 0 || cells['tags'] === '{}' ? { tags } : {}),
    ...(spki_sha256 ? { spki_sha256 } : {}),
    ...(state ? { state } : {}),
  })
}

const fromObject = (value: unknown): Read => {
  const known: readonly string[] = COLUMNS
  const object = value as Record<string, unknown>
  const unknown = Object.keys(object).find((name) => !known.includes(name))
  if (unknown !== undefined) return unreadable(`${unknown}: not one of ${COLUMNS.join(', ')}`)
  const { tags, ...texts } = object
  if (tags !== undefined && !isTexts(tags)) return unreadable('tags: an object of texts')
  if (!isTexts(texts)) return unreadable('id, group, spki_sha256 and state are texts')
  const { id = '' } = texts
  return lineOf({ ...texts, id, ...(tags === undefined ? {} : { tags }) })
}

const checkHeader = (header: readonly string[]): string[] => {
  const names = header.map((name) => name.trim())
  const known: readonly string[] = COLUMNS
  const unknown = names.find((name) => !known.includes(name) && !name.startsWith(TAG))
  if (unknown !== undefined)
    throw new FleetError(
      'config_invalid',
      `column ${unknown}: not one of ${COLUMNS.join(', ')} or ${TAG}<name>`,
    )
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) throw new FleetError('config_invalid', `column ${twice} is there twice`)
  if (!names.includes('id')) throw new FleetError('config_invalid', 'the header has no column id')
  return names
}

type Record_ = {
  readonly record: Record<string, string>
  readonly info: { readonly records: number; readonly bytes: number; readonly error: Error | undefined }
}

const csvRows = async function* (path: string): AsyncGenerator<Row> {
  const parser = parse({
    columns: checkHeader,
    bom: true,
    info: true,
    skip_empty_lines: true,
    trim: true,
    max_record_size: MOST_RECORD,
    // a row with too many cells or too few is refused by itself, below
    relax_column_count: true,
  })
  // the loop below is given the error of either
  pipeline(createReadStream(path), parser, () => {})
  for await (const { record, info } of parser as AsyncIterable<Record_>)
    yield {
      number: info.records,
      bytes: info.bytes,
      ...(info.error === undefined ? fromCells(record) : unreadable(info.error.message)),
    }
}

const objectRows = async function* (path: string): AsyncGenerator<Row> {
  const stream = createReadStream(path, 'utf8')
  let number = 0
  for await (const text of objectTexts(stream)) {
    number += 1
    let read: Read
    try {
      read = fromObject(JSON.parse(text))
    } catch {
      read = unreadable('not valid JSON')
    }
    yield { number, bytes: stream.bytesRead, ...read }
  }
}

const READERS: Readonly<Record<Format, (path: string) => AsyncGenerator<Row>>> = {
  csv: csvRows,
  json: objectRows,
  ndjson: objectRows,
}

/** @throws FleetError `config_invalid`: the file cannot be read any further, with where and why */
export const readRows = async function* (path: string, format: Format): AsyncGenerator<Row> {
  try {
    yield* READERS[format](path)
  } catch (error) {
    if (error instanceof FleetError) throw new FleetError(error.code, `${path}: ${error.detail}`)
    if (error instanceof CsvError || (error as NodeJS.ErrnoException).code !== undefined)
      throw new FleetError('config_invalid', `${path}: ${(error as Error).message}`, { cause: error })
    throw error
  }
}
