/** The log file of a desk that `up` started: where it writes, what it said last, what it says next. Not a logger. */

import {
  closeSync,
  copyFileSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { dirname } from 'node:path'

/** Beyond it a new file begins, at a start or while the desk runs, and this one is kept as `.1`: two of them at most. */
const TURN_AT = 16 * 1024 ** 2
const CHUNK = 65_536
/** A line that is longer than this is not one of ours. */
const LONGEST_LINE = 1024 ** 2

/** @returns a file descriptor to hand to the child, and where its lines begin */
export const openLogFile = (path: string): { fd: number; from: number } => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > TURN_AT) renameSync(path, `${path}.1`)
  const fd = openSync(path, 'a', 0o600)
  return { fd, from: fstatSync(fd).size }
}

export interface LogReader extends Disposable {
  /** Complete lines since the last call. */
  read(): string[]
}

/**
 * Reads on where it stopped; nothing is watched, the caller asks when it wants to know.
 * @param o.turns whether this reader, the only such one, also begins the new file when it is time. The desk writes on to the file that it
 * was given, so that one is copied and emptied; a line that comes in the microseconds between is lost.
 */
export const readLogFile = (path: string, from: number, o: { readonly turns?: boolean } = {}): LogReader => {
  const fd = openSync(path, 'r')
  const chunk = Buffer.alloc(CHUNK)
  let at = from
  let rest = Buffer.alloc(0)

  const take = (lines: string[]): void => {
    for (let got = readSync(fd, chunk, 0, CHUNK, at); got > 0; got = readSync(fd, chunk, 0, CHUNK, at)) {
      at += got
      rest = Buffer.concat([rest, chunk.subarray(0, got)])
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        lines.push(rest.toString('utf8', 0, end))
        rest = rest.subarray(end + 1)
      }
      if (rest.length > LONGEST_LINE) rest = Buffer.alloc(0)
    }
  }
  const turn = (lines: string[]): void => {
    rmSync(`${path}.1`, { force: true })
    copyFileSync(path, `${path}.1`)
    // what came during the copy, which may have taken a while
    take(lines)
    truncateSync(path)
    at = 0
  }

  return {
    read() {
      const lines: string[] = []
      // emptied by whoever turns it
      if (fstatSync(fd).size < at) at = 0
      take(lines)
      if (o.turns === true && at > TURN_AT) turn(lines)
      return lines
    },
    [Symbol.dispose]() {
      closeSync(fd)
    },
  }
}
