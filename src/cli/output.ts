/** What goes to stdout: one JSON document, or plain columns. No colours here: `up`'s view has those. */

import type { Io } from './io.ts'

/** What others wrote is not to move our cursor: control characters show as `?`. */
export const clean = (text: string): string => text.replace(/\p{Cc}/gu, '?')

export const printJson = (io: Io, value: unknown): void => {
  io.out.write(`${JSON.stringify(value, null, 2)}\n`)
}

export const printLines = (io: Io, lines: readonly string[]): void => {
  io.out.write(lines.map((line) => `${line}\n`).join(''))
}

/** Heads over columns, two spaces between; the last column is not padded. */
export const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string[] => {
  const all = [heads, ...rows.map((row) => row.map(clean))]
  const widths = heads.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)))
  return all.map((row) =>
    row
      .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}

/** Names and values, one pair a line. `undefined` values are left out. */
export const pairs = (entries: readonly (readonly [string, string | undefined])[]): string[] => {
  const shown = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined)
  const width = Math.max(0, ...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${clean(value)}`)
}

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/

/** A word for a POSIX shell. */
export const quote = (word: string): string =>
  PLAIN.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
