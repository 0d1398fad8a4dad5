/** The log file of a desk that `up` started: where it writes, what it said last, what it says next. Not a logger. */

import { closeSync, fstatSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** Beyond it, a start begins a new file and keeps this one as `.1`. */
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

/** Reads on where it stopped; nothing is watched, the caller asks when it wants to know. */
export const readLogFile = (path: string, from: number): LogReader => {
  const fd = openSync(path, 'r')
  const chunk = Buffer.alloc(CHUNK)
  let at = from
  let rest = Buffer.alloc(0)
  return {
    read() {
      const lines: string[] = []
      for (let got = readSync(fd, chunk, 0, CHUNK, at); got > 0; got = readSync(fd, chunk, 0, CHUNK, at)) {
        at += got
        rest = Buffer.concat([rest, chunk.subarray(0, got)])
        for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
          lines.push(rest.toString('utf8', 0, end))
          rest = rest.subarray(end + 1)
        }
        if (rest.length > LONGEST_LINE) rest = Buffer.alloc(0)
      }
      return lines
    },
    [Symbol.dispose]() {
      closeSync(fd)
    },
  }
}
