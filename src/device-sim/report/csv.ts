/** The series of a report as CSV (RFC 4180): a row for each point, columns as in docs/simulation-report.md. Not the rest of it: that is the JSON's. */

import { sumCounts } from '#device-sim/measure/counts.ts'
import { COUNTERS, MEASURES } from '#device-sim/measure/measures.ts'
import { DOORS } from '#device-sim/scenario/assertions.ts'
import type { Point, SimulationReport } from '#wire/simulation-report.ts'
import { byFrequency } from './format.ts'

/** What is named from outside is the last columns, and not without end. */
const MOST_REASONS = 100

type Cell = number | string | undefined
type Column = { readonly name: string; cell(point: Point): Cell }

const refusedAt = (door: string, { refused }: Point): number =>
  Object.entries(refused).reduce((sum, [name, n]) => (name.startsWith(`${door} `) ? sum + n : sum), 0)

const measured = (name: string): readonly Column[] => [
  { name: `${name}_count`, cell: ({ measures }) => measures[name]?.count ?? 0 },
  ...(['p50', 'p50_low', 'p99', 'max'] as const).map((figure) => ({
    name: `${name}_${figure}_ms`,
    cell: ({ measures }: Point) => measures[name]?.[figure],
  })),
]

/** The same in every report, in this order. */
const FIXED: readonly Column[] = [
  { name: 'at_ms', cell: ({ at_ms }) => at_ms },
  { name: 'span_ms', cell: ({ span_ms }) => span_ms },
  { name: 'devices', cell: ({ devices }) => devices },
  { name: 'connected', cell: ({ connected }) => connected },
  { name: 'under_way', cell: ({ under_way }) => under_way },
  ...COUNTERS.map((name) => ({ name, cell: ({ counts }: Point) => counts[name] ?? 0 })),
  ...DOORS.map((door) => ({ name: `refused_${door}`, cell: (point: Point) => refusedAt(door, point) })),
  ...DOORS.map((door) => ({ name: `errors_${door}`, cell: ({ errors }: Point) => errors[door] ?? 0 })),
  ...Object.keys(MEASURES).flatMap(measured),
  { name: 'generator_utilisation', cell: ({ generator }) => generator.utilisation },
  { name: 'generator_lag_ms', cell: ({ generator }) => generator.lag_ms },
]

/** By name, so that two runs of one scenario have the same columns. */
const found = (
  series: readonly Point[],
  of: (point: Point) => Readonly<Record<string, number>>,
): string[] => {
  return byFrequency(sumCounts(series.map(of)))
    .slice(0, MOST_REASONS)
    .map(([name]) => name)
    .toSorted()
}

const columnsOf = (series: readonly Point[]): readonly Column[] => [
  ...FIXED,
  ...found(series, ({ servers }) => servers).map((name) => ({
    name: `server ${name}`,
    cell: ({ servers }: Point) => servers[name],
  })),
  ...found(series, ({ refused }) => refused).map((name) => ({
    name: `refused ${name}`,
    cell: ({ refused }: Point) => refused[name] ?? 0,
  })),
]

/** Quoted where RFC 4180 asks for it; control characters, which it does not know, are left out. */
const field = (cell: Cell): string => {
  const text = String(cell ?? '')
    .toWellFormed()
    .replace(/(?!\n)\p{Cc}/gu, '')
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** A header and a row for each point; an empty cell: nothing was measured. */
export const csvReport = ({ series }: Pick<SimulationReport, 'series'>): string => {
  const columns = columnsOf(series)
  const rows = [
    columns.map(({ name }) => name),
    ...series.map((point) => columns.map(({ cell }) => cell(point))),
  ]
  return rows.map((row) => `${row.map(field).join(',')}\r\n`).join('')
}

/** For the docs. */
export const CSV_COLUMNS: readonly string[] = FIXED.map(({ name }) => name)
