/** Redraws a few lines in place, below everything that was printed before. Not what they say: that is view.ts. */

import { stripVTControlCharacters } from 'node:util'
import type { Io, Stream } from '../io.ts'

type Terminal = {
  write(text: string): unknown
  readonly columns?: number | undefined
}

export type Screen = {
  draw(lines: readonly string[]): void
  /** takes the lines away again */
  clear(): void
}

/**
 * How far up the first line is: a terminal that was made narrower since may have wrapped what it shows.
 * Lines are drawn at most 78 wide, so this differs from their number only in a very narrow one.
 */
const rowsOf = (lines: readonly string[], columns: number): number =>
  lines.reduce(
    (rows, line) => rows + Math.max(1, Math.ceil(stripVTControlCharacters(line).length / columns)),
    0,
  )

/** A terminal whose cursor can be moved. */
export const canRedraw = ({ env }: Pick<Io, 'env'>, stream: Stream): boolean =>
  stream.isTTY === true && env['TERM'] !== 'dumb'

/** https://no-color.org */
export const hasColours = ({ env }: Pick<Io, 'env'>): boolean => !env['NO_COLOR']

export const createScreen = (terminal: Terminal): Screen => {
  let shown: readonly string[] = []
  const back = (): string => {
    // 0: a terminal that does not know its size
    const rows = rowsOf(shown, terminal.columns || 80)
    // up to the first line, then everything below it is ours
    return rows === 0 ? '' : `\u001b[${rows}A\r\u001b[J`
  }
  return {
    draw(lines) {
      // in one write: nothing flickers
      terminal.write(`${back()}${lines.map((line) => `${line}\n`).join('')}`)
      shown = lines
    },
    clear() {
      terminal.write(back())
      shown = []
    },
  }
}
