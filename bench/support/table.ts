/** One suite's figures as a table: its cells, and as text. As a page: page.ts. */

import type { SuiteResult } from './suite.ts'
import { verdictOf, type Verdict } from './verdict.ts'

const pad = (cells: readonly string[], widths: readonly number[]): string =>
  cells
    .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] as number) : cell.padStart(widths[at] as number)))
    .join('  ')
    .trimEnd()

/** Three digits that say something. */
const show = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)

const askedText = ({ bound, limit }: Verdict, base: string | undefined): string =>
  [
    ...(bound === undefined ? [] : [`≤ ${bound} × ${base ?? 'nothing'}`]),
    ...(limit === undefined ? [] : [`≤ ${limit}`]),
  ].join(', ')

const metText = ({ met, unsteady }: Verdict): string => {
  if (met === undefined) return 'not judged'
  return `${met ? 'met' : 'MISSED'}${unsteady === undefined ? '' : ' in every round'}`
}

type Column = {
  readonly head: string
  readonly cell: (verdict: Verdict, variant: string, values: readonly number[]) => string
  /** default: always there */
  readonly when?: boolean
  /** what is no figure of the rounds stands there although they have not settled */
  readonly always?: boolean
}

const columnsOf = (result: SuiteResult): readonly Column[] => {
  const { base, figure, floor, memory, errors, bounds, limits, variants } = result
  const isUnsteady = Object.keys(variants).some((each) => verdictOf(result, each).unsteady !== undefined)
  const hasRange = figure === undefined && base !== undefined
  return [
    { head: 'best', cell: (_, __, values) => show(Math.min(...values)) },
    { head: 'median', cell: (verdict) => show(verdict.figure), when: figure === undefined },
    {
      head: `ratio to ${base}`,
      cell: ({ ratio }, variant) => (variant === base ? '1' : (ratio?.toFixed(3) ?? '')),
      when: base !== undefined,
    },
    {
      // why there are no figures stands here too
      head: hasRange ? 'range of rounds' : '',
      cell: ({ range, unsteady }) => unsteady ?? range?.map((each) => each.toFixed(2)).join('–') ?? '',
      when: hasRange || isUnsteady,
      always: true,
    },
    {
      head: '× floor',
      cell: ({ floors }) => floors?.toFixed(2) ?? '',
      when: floor !== undefined,
    },
    {
      head: 'MB',
      cell: (_, variant) => (memory?.[variant] === undefined ? '' : show(memory[variant] / 1e6)),
      when: memory !== undefined,
      always: true,
    },
    {
      head: 'errors',
      cell: (_, variant) => String(errors?.counts[variant] ?? 0),
      when: errors !== undefined,
      always: true,
    },
    {
      head: 'asked',
      cell: (verdict) => askedText(verdict, base),
      when: bounds !== undefined || limits !== undefined,
      always: true,
    },
    {
      head: '',
      cell: (verdict) => (askedText(verdict, base) === '' ? '' : metText(verdict)),
      when: bounds !== undefined || limits !== undefined,
      always: true,
    },
  ]
}

/** The variant's name comes first in each row. */
export type Cells = { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] }

export const cellsOf = (result: SuiteResult): Cells => {
  const columns = columnsOf(result).filter(({ when }) => when !== false)
  const rows = Object.entries(result.variants).map(([variant, values]) => {
    const verdict = verdictOf(result, variant)
    const isShown = (column: Column): boolean => verdict.unsteady === undefined || column.always === true
    return [
      variant,
      ...columns.map((column) => (isShown(column) ? column.cell(verdict, variant, values) : '')),
    ]
  })
  return { head: ['', ...columns.map(({ head }) => head)], rows }
}

/** What stands under the table, without its facts. */
export const notesOf = ({ floor, missing, errors }: SuiteResult): readonly string[] => [
  ...(floor === undefined ? [] : [`floor: ${floor.what}`]),
  ...(errors === undefined ? [] : [`errors: ${errors.what}`]),
  ...Object.entries(missing ?? {}).map(([peer, how]) => `without ${peer}: ${how}`),
]

export const showTable = (name: string, result: SuiteResult): string => {
  const { head, rows } = cellsOf(result)
  const widths = head.map((cell, at) =>
    Math.max(cell.length, ...rows.map((row) => (row[at] as string).length)),
  )
  const facts = Object.entries(result.facts).map(([what, value]) => `${what}: ${value}`)
  return [
    `${name}: ${result.unit}`,
    pad(head, widths),
    ...rows.map((row) => pad(row, widths)),
    ...notesOf(result),
    facts.join(', '),
  ].join('\n')
}
