/** docs/simulation-report.md says of every field, column and metric what the code says of it, and of nothing else. */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { CSV_COLUMNS } from '#device-sim/report/csv.ts'
import { FAMILIES } from '#device-sim/report/prometheus.ts'
import { SimulationReportSchema } from '#wire/simulation-report.ts'

const page = readFileSync(resolve(import.meta.dirname, '../../../../docs/simulation-report.md'), 'utf8')

type Schema = {
  readonly type?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
}

const typeOf = (schema: Schema): string => {
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' or ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(' or ')
  if (schema.items !== undefined) return `array of ${typeOf(schema.items)}`
  const values = Object.values(schema.patternProperties ?? {})[0]
  return values === undefined ? (schema.type ?? '') : `map of ${typeOf(values)}`
}

const wordsOf = (schema: Schema): string =>
  schema.description ?? schema.anyOf?.find(({ description }) => description !== undefined)?.description ?? ''

/** `[]`: each of an array. `*`: each name of a map. */
const fieldsOf = (schema: Schema, path: string): string[][] => {
  const values = Object.values(schema.patternProperties ?? {})[0]
  return [
    ...(path === '' || path.endsWith('[]') || path.endsWith('.*')
      ? []
      : [[path, typeOf(schema), wordsOf(schema)]]),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, each]) =>
      fieldsOf(each, path === '' ? name : `${path}.${name}`),
    ),
    ...(schema.items === undefined ? [] : fieldsOf(schema.items, `${path}[]`)),
    ...(values === undefined ? [] : fieldsOf(values, `${path}.*`)),
  ]
}

/** The cells of the rows under this head, without the marks of code. */
const tableUnder = (...head: readonly string[]): string[][] => {
  const rows = page.split('\n').map((line) =>
    line.startsWith('|')
      ? line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim())
      : [],
  )
  const from = rows.findIndex((cells) => cells.join() === head.join())
  const rest = rows.slice(from + 2)
  return rest
    .slice(
      0,
      rest.findIndex((cells) => cells.length === 0),
    )
    .map(([first = '', ...others]) => [first.replaceAll('`', ''), ...others])
}

const fields = fieldsOf(SimulationReportSchema as unknown as Schema, '')

test('every field is on the page with its type and words, in the order of the schema', () => {
  expect(tableUnder('field', 'type', 'what')).toEqual(fields)
})

test('every field has words in the schema', () => {
  expect(fields.filter(([, , words]) => words === '')).toEqual([])
})

test('every column of the CSV is on the page, in its order', () => {
  const measured =
    /^(enroll|renew|tcp|handshake|connect|https|publish|delivery|refusal)_(count|p50_ms|p50_low_ms|p99_ms|max_ms)$/
  const short = CSV_COLUMNS.map((name) => name.replace(measured, '<measure>_$2'))
  expect(tableUnder('column', 'of that time').map(([name]) => name)).toEqual([
    ...new Set(short),
    'server <name>',
    'refused <door> <reason>',
  ])
})

test('every metric is on the page with its labels and words', () => {
  expect(tableUnder('metric', 'type', 'labels', 'meaning')).toEqual(
    FAMILIES.map(({ name, type, labels, help }) => [`sallyport_sim_${name}`, type, labels.join(', '), help]),
  )
})
