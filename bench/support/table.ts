/** One suite's figures as text. */

import { median, type SuiteResult } from './suite.ts'

const pad = (cells: readonly string[], widths: readonly number[]): string =>
  cells
    .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] as number) : cell.padStart(widths[at] as number)))
    .join('  ')

/** Three digits that say something. */
const show = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)

/** Ratios are per round, then their median: what drifts between rounds falls out. */
export const showTable = (name: string, result: SuiteResult): string => {
  const base = result.variants[result.base] ?? []
  const rows = Object.entries(result.variants).map(([variant, numbers]) => {
    const ratios = numbers.map((value, at) => value / (base[at] as number))
    const range = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
    return [
      variant,
      show(Math.min(...numbers)),
      show(median(numbers)),
      variant === result.base ? '1' : median(ratios).toFixed(3),
      variant === result.base ? '' : range,
    ]
  })
  const head = [`${name}: ${result.unit}`, 'min', 'median', `ratio to ${result.base}`, 'range of rounds']
  const widths = head.map((cell, at) =>
    Math.max(cell.length, ...rows.map((row) => (row[at] as string).length)),
  )
  const facts = Object.entries(result.facts).map(([what, value]) => `${what}: ${value}`)
  return [pad(head, widths), ...rows.map((row) => pad(row, widths)), facts.join(', ')].join('\n')
}
