/** What a file of devices looks like, by its name or by what was asked for. CSV has a header; tags are JSON in one column, or `tags.<name>` columns. */

import { FleetError } from '#fleet/errors.ts'

export const FORMATS = ['csv', 'json', 'ndjson'] as const
export type Format = (typeof FORMATS)[number]

/** In the order in which an export writes them. */
export const COLUMNS = ['id', 'group', 'tags', 'spki_sha256', 'state'] as const

const ENDINGS: Readonly<Record<string, Format>> = {
  csv: 'csv',
  json: 'json',
  ndjson: 'ndjson',
  jsonl: 'ndjson',
}

/** @throws FleetError `config_invalid` */
export const formatOf = (path: string, asked: Format | undefined): Format => {
  const format = asked ?? ENDINGS[path.slice(path.lastIndexOf('.') + 1).toLowerCase()]
  if (format === undefined)
    throw new FleetError('config_invalid', `${path}: say --format ${FORMATS.join(', ')}; its name does not`)
  return format
}
