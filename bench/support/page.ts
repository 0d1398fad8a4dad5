/**
 * docs/performance.md: the latest figures of each suite, put between `<!-- bench: NAME -->` and `<!-- /bench -->`. What stands around them is written by
 * people, and stays. Figures of before this form stay until their suite has run again.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SuiteResult } from './suite.ts'
import { cellsOf, notesOf } from './table.ts'

/** As main.ts writes it. */
export type ResultFile = {
  readonly suite: string
  /** ISO 8601 */
  readonly at: string
  readonly command: string
  readonly machine: Readonly<Record<string, string | number>>
  readonly results: readonly SuiteResult[]
}

const NAMED = /^(\d{4}-\d{2}-\d{2})-([a-z-]+)\.json$/

/** @returns by suite, the latest of each; those of an older form are left out */
export const latestIn = (folder: string): ReadonlyMap<string, ResultFile> => {
  const files = new Map<string, ResultFile>()
  // sorted by name, they are sorted by date
  for (const name of readdirSync(folder).toSorted()) {
    const [, , suite] = NAMED.exec(name) ?? []
    if (suite === undefined) continue
    const file = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Partial<ResultFile>
    if (file.command !== undefined) files.set(suite, file as ResultFile)
  }
  return files
}

/** As prettier writes it, so that the page need not be formatted afterwards. The first column is words, the others figures. */
export const markdownTable = (
  head: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] => {
  const escaped = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = head.map((_, at) => Math.max(3, ...escaped.map((row) => (row[at] as string).length)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] as number) : cell.padStart(widths[at] as number))).join(' | ')} |`
  const rule = widths.map((width, at) => (at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [line(escaped[0] as readonly string[]), `| ${rule.join(' | ')} |`, ...escaped.slice(1).map(line)]
}

const listed = (facts: Readonly<Record<string, string | number>>): string =>
  Object.entries(facts)
    .map(([what, value]) => `${what.replaceAll('_', ' ')}: ${value}`)
    .join('; ')

/** What the first said is not said again. */
const differing = (
  facts: SuiteResult['facts'],
  first: SuiteResult['facts'],
): Readonly<Record<string, string | number>> =>
  Object.fromEntries(Object.entries(facts).filter(([what, value]) => first[what] !== value))

export const sectionOf = ({ at, command, machine, results }: ResultFile): string => {
  const first = results[0]?.facts ?? {}
  const paragraphs = results.flatMap((result, index) => {
    const { head, rows } = cellsOf(result)
    const own = index === 0 ? '' : listed(differing(result.facts, first))
    const notes = [...notesOf(result), ...(own === '' ? [] : [own])]
    return [
      `**${result.unit}**`,
      ...(rows.length > 0 ? [markdownTable(head, rows).join('\n')] : []),
      ...(notes.length > 0 ? [notes.map((note) => `- ${note}`).join('\n')] : []),
    ]
  })
  return [
    `\`${command}\`, ${at.slice(0, 10)}. ${listed(machine)}.`,
    ...paragraphs,
    ...(results.length > 0 ? [`${listed(first)}.`] : []),
  ].join('\n\n')
}

const PLACE = /<!-- bench: ([a-z-]+) -->\n[\s\S]*?<!-- \/bench -->/g

/** @returns the page with the figures that there are, and the suites that it has no place for */
export const fillPage = (
  text: string,
  files: ReadonlyMap<string, ResultFile>,
): { readonly text: string; readonly homeless: readonly string[] } => {
  const placed = new Set<string>()
  const filled = text.replaceAll(PLACE, (place, suite: string) => {
    placed.add(suite)
    const file = files.get(suite)
    return file === undefined ? place : `<!-- bench: ${suite} -->\n\n${sectionOf(file)}\n\n<!-- /bench -->`
  })
  return { text: filled, homeless: [...files.keys()].filter((suite) => !placed.has(suite)) }
}
