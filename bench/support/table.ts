/** One suite's figures as a table: its cells, and as text. As a page: page.ts. */

import type { SuiteResult, Variants } from './suite.ts'
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

const roundsText = (count: number): string => `${count} round${count === 1 ? '' : 's'}`

const metText = ({ met, unsteady, few }: Verdict): string => {
  if (met === undefined) return 'not judged'
  const said = `${met ? 'met' : 'MISSED'}${unsteady === undefined ? '' : ' in every round'}`
  return few === undefined ? said : `${said} (${roundsText(few)})`
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
    {
      head: 'best',
      cell: ({ drifts }, _, values) => (drifts === undefined ? show(Math.min(...values)) : ''),
    },
    {
      head: 'median',
      cell: (verdict) => (verdict.drifts === undefined ? show(verdict.figure) : ''),
      when: figure === undefined,
    },
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
      // nobody counts those of a floor
      cell: (_, variant) => (variants[variant] === undefined ? '' : String(errors?.counts[variant] ?? 0)),
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

/** By the name of its row: one, or one of each variant. */
const floorsOf = ({ floor }: SuiteResult): Variants => {
  if (floor === undefined) return {}
  if (Array.isArray(floor.values)) return { floor: floor.values as readonly number[] }
  const each = Object.entries(floor.values as Variants)
  return Object.fromEntries(each.map(([variant, values]) => [`floor, ${variant}`, values]))
}

export const cellsOf = (result: SuiteResult): Cells => {
  const columns = columnsOf(result).filter(({ when }) => when !== false)
  const rowOf = (of: SuiteResult, variant: string, values: readonly number[]): readonly string[] => {
    const verdict = verdictOf(of, variant)
    const isShown = (column: Column): boolean => verdict.unsteady === undefined || column.always === true
    return [
      variant,
      ...columns.map((column) => (isShown(column) ? column.cell(verdict, variant, values) : '')),
    ]
  }
  const floors = floorsOf(result)
  // a row of figures, held against nothing and asked for nothing
  const { unit, figure } = result
  const alone: SuiteResult = {
    unit,
    ...(figure === undefined ? {} : { figure }),
    variants: floors,
    facts: {},
  }
  return {
    head: ['', ...columns.map(({ head }) => head)],
    rows: [
      ...Object.entries(result.variants).map(([variant, values]) => rowOf(result, variant, values)),
      ...Object.entries(floors).map(([name, values]) => rowOf(alone, name, values)),
    ],
  }
}

/** What the rounds do not say of themselves in the columns. */
const settledNotes = (result: SuiteResult): readonly string[] => {
  const verdicts = Object.keys(result.variants).map(
    (variant) => [variant, verdictOf(result, variant)] as const,
  )
  const few = Math.max(...verdicts.map(([, verdict]) => verdict.few ?? 0))
  return [
    ...(few > 0 ? [`${roundsText(few)}: too few to say whether it is steady`] : []),
    ...verdicts.flatMap(([variant, { drifts }]) =>
      drifts === undefined ? [] : [`${variant}, by itself: ${drifts}; its ratio has settled`],
    ),
  ]
}

/** What stands under the table, without its facts. */
export const notesOf = (result: SuiteResult): readonly string[] => [
  ...settledNotes(result),
  ...(result.floor === undefined ? [] : [`floor: ${result.floor.what}`]),
  ...(result.errors === undefined ? [] : [`errors: ${result.errors.what}`]),
  ...Object.entries(result.missing ?? {}).map(([peer, how]) => `without ${peer}: ${how}`),
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
