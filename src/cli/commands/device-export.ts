/** `device export`: the whole fleet, in the form that `device import` reads. Page by page, so that no fleet is too large. */

import { createWriteStream } from 'node:fs'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import type { Device } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import { COLUMNS, FORMATS, formatOf, type Format } from '../fleet-file/format.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

const PAGE = 1_000

type Options = Online & { readonly format?: Format; readonly group?: string }
type Page = { readonly items: readonly Device[]; readonly next: string | null }
type Line = Readonly<Record<(typeof COLUMNS)[number], string | Readonly<Record<string, string>> | undefined>>

/** RFC 4180. A cell that a spreadsheet would run as a formula cannot be: ids and groups begin with letters or digits, tags with `{`. */
const cell = (value: string | Readonly<Record<string, string>> | undefined): string => {
  const text = typeof value === 'object' ? JSON.stringify(value) : (value ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

type Writer = {
  readonly head: string
  readonly row: (line: Line, first: boolean) => string
  readonly tail: string
}

const WRITERS: Readonly<Record<Format, Writer>> = {
  csv: {
    head: `${COLUMNS.join(',')}\n`,
    row: (line) => `${COLUMNS.map((name) => cell(line[name])).join(',')}\n`,
    tail: '',
  },
  json: { head: '[', row: (line, first) => `${first ? '\n' : ',\n'}${JSON.stringify(line)}`, tail: '\n]\n' },
  ndjson: { head: '', row: (line) => `${JSON.stringify(line)}\n`, tail: '' },
}

const lineOf = ({ id, group, tags, state, registered_spki: spki }: Device): Line => ({
  id,
  group,
  tags: Object.keys(tags).length === 0 ? undefined : tags,
  spki_sha256: spki ?? undefined,
  state,
})

export const deviceExport = (io: Io): Command =>
  online('export', 'write every device in the form that import reads', 'device export fleet.csv')
    .argument('<file>', 'where to; it must not exist yet')
    .addOption(new Option('--format <format>', 'default: by the name of the file').choices(FORMATS))
    .option('--group <name>', 'only devices of this group')
    .action(async (file: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const { head, row, tail } = WRITERS[formatOf(file, options.format)]
      const api = connect(io, options)
      const out = createWriteStream(resolve(io.cwd, file), { flags: 'wx', mode: 0o600 })
      await once(out, 'open').catch((cause: unknown) => {
        const code = (cause as NodeJS.ErrnoException).code ?? 'cannot be written'
        throw new FleetError('config_invalid', `${file}: ${code}`, { cause })
      })
      out.write(head)
      let rows = 0
      for (let after: string | undefined; ;) {
        const page = await api.call<Page>('GET', '/v1/devices', {
          query: { limit: PAGE, after, group: options.group },
        })
        for (const device of page.items) {
          if (!out.write(row(lineOf(device), rows === 0))) await once(out, 'drain')
          rows += 1
        }
        if (page.next === null) break
        after = page.next
      }
      out.end(tail)
      await once(out, 'close')
      show(io, options, { rows, file }, () => [`${rows} devices are in ${file}`])
    })
