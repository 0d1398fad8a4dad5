/** `device import`: a file of devices is registered, in batches, row by row with its result. Cut off, it goes on where it was. */

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import { IMPORT_RESULTS, type ImportAnswer, type ImportLine } from '#wire/bulk.ts'
import { online, show, type Online } from '../command.ts'
import { FORMATS, formatOf, type Format } from '../fleet-file/format.ts'
import { readRows, type Row } from '../fleet-file/read.ts'
import { openResults, type RowResult } from '../fleet-file/results.ts'
import type { Io } from '../io.ts'
import { connect, type OperatorApi } from '../operator-api.ts'
import { createProgress } from '../progress.ts'

/** Rows and octets of one request: well below what the desk takes. */
const BATCH = 500
const BATCH_OCTETS = 400_000

type Options = Online & { readonly format?: Format; readonly results?: string }

type Batch = { rows: Row[]; octets: number }

const send = async (api: OperatorApi, rows: readonly Row[]): Promise<readonly RowResult[]> => {
  const devices = rows.flatMap(({ line }): ImportLine[] => (line === undefined ? [] : [line]))
  const answer =
    devices.length === 0
      ? { results: [] }
      : await api.call<ImportAnswer>('POST', '/v1/devices/import', { body: { devices } })
  const results = answer.results.values()
  return rows.map(({ number, line, problem }): RowResult => {
    if (line === undefined)
      return { row: number, id: '', result: 'refused', reason: 'bad_request', detail: problem ?? '' }
    const { value } = results.next()
    if (value === undefined) throw new FleetError('internal', 'the desk answered with too few results')
    return { row: number, ...value }
  })
}

const statOf = (path: string, shown: string): number => {
  try {
    return statSync(path).size
  } catch (cause) {
    throw new FleetError(
      'config_invalid',
      `${shown}: ${(cause as NodeJS.ErrnoException).code ?? 'unreadable'}`,
      {
        cause,
      },
    )
  }
}

export const deviceImport = (io: Io): Command =>
  online('import', 'register devices before they enrol, from a file', 'device import fleet.csv')
    .argument('<file>', 'CSV with a header (id, group, tags, spki_sha256, state), a JSON array, or NDJSON')
    .addOption(new Option('--format <format>', 'default: by the name of the file').choices(FORMATS))
    .option('--results <file>', 'the result of each row (default: <file>.results.ndjson)')
    .action(async (file: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const path = resolve(io.cwd, file)
      const format = formatOf(file, options.format)
      const size = statOf(path, file)
      const shownResults = options.results ?? `${file}.results.ndjson`
      const results = await openResults(resolve(io.cwd, shownResults), path)
      const api = connect(io, options)
      const counts: Record<string, number> = { ...results.counts }
      let rows = results.done
      using progress = createProgress(io, { total: size, what: 'devices' })

      const flush = async (batch: Batch): Promise<void> => {
        const answered = await send(api, batch.rows)
        results.append(answered)
        for (const { result } of answered) counts[result] = (counts[result] ?? 0) + 1
        rows += answered.length
        progress.at(batch.rows.at(-1)?.bytes ?? size, rows, `refused ${counts['refused'] ?? 0}`)
      }
      let batch: Batch = { rows: [], octets: 0 }
      try {
        for await (const row of readRows(path, format)) {
          if (row.number <= results.done) continue
          batch.rows.push(row)
          batch.octets += Buffer.byteLength(JSON.stringify(row.line ?? null))
          if (batch.rows.length < BATCH && batch.octets < BATCH_OCTETS) continue
          const full = batch
          batch = { rows: [], octets: 0 }
          await flush(full)
        }
      } finally {
        // also when the file cannot be read any further: what stands before that place is good
        if (batch.rows.length > 0) await flush(batch)
      }
      progress.clear()

      const summary = {
        rows,
        ...Object.fromEntries(IMPORT_RESULTS.map((result) => [result, counts[result] ?? 0])),
        resumed_after: results.done,
        results: shownResults,
      }
      show(io, options, summary, () => [
        `${rows} rows: ${IMPORT_RESULTS.map((result) => `${counts[result] ?? 0} ${result}`).join(', ')}`,
        ...(results.done > 0 ? [`Rows 1 to ${results.done} had their results from before.`] : []),
        `The result of each row: ${shownResults}`,
      ])
      if ((counts['refused'] ?? 0) > 0)
        throw new FleetError(
          'expectation_broken',
          `${counts['refused']} of ${rows} rows were refused; see ${shownResults}`,
        )
    })
