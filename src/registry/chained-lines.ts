/**
 * MEMORY as a text file: JSON lines, each of which has the SHA-256 of the one before, so that a line that was cut out, changed or put in
 * shows. Reads and holds against the chain; who writes is src/enroll/signer/journal.ts. A cut at the very end does not show here:
 * that takes somebody who knows what should be there (`sallyport signer verify --registry`).
 */

import { createHash } from 'node:crypto'
import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Where a chain has come to: the number of its last line, and that line's hash. */
export type Head = { readonly n: number; readonly sha256: string }

/** `prev` of the very first line. */
export const CHAIN_START: Head = { n: 0, sha256: '0'.repeat(64) }

export const lineHash = (line: string): string => createHash('sha256').update(line).digest('hex')

/** Longer ones are none of ours. */
const MAX_LINE = 65_536
const CHUNK = 1_048_576

export type ReadLine = {
  readonly text: string
  /** bytes from the beginning of the file to the end of this line, its line break included */
  readonly end: number
}

/** Whole lines only: what stands after the last line break was never finished. @throws of the file system; a RangeError for a line without end */
export function* linesOf(path: string): Generator<ReadLine> {
  const fd = openSync(path, 'r')
  try {
    const chunk = Buffer.alloc(CHUNK)
    let rest = Buffer.alloc(0)
    let end = 0
    for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) {
      const bytes = Buffer.concat([rest, chunk.subarray(0, count)])
      let from = 0
      for (let at = bytes.indexOf(10, from); at >= 0; at = bytes.indexOf(10, from)) {
        end += at + 1 - from
        yield { text: bytes.toString('utf8', from, at), end }
        from = at + 1
      }
      rest = bytes.subarray(from)
      if (rest.length > MAX_LINE) throw new RangeError(`a line of more than ${MAX_LINE} bytes`)
    }
  } finally {
    closeSync(fd)
  }
}

type Link = { readonly n: number; readonly prev: string }

/** What a line says of its place; undefined when it says nothing of the kind. */
const linkOf = (text: string): Link | undefined => {
  try {
    const { n, prev } = JSON.parse(text) as Partial<Link>
    return Number.isSafeInteger(n) && typeof prev === 'string' ? { n: n as number, prev } : undefined
  } catch {
    return undefined
  }
}

export type Followed =
  { readonly ok: true; readonly head: Head } | { readonly ok: false; readonly problem: string }

/** @param head undefined: the line is taken at its word, as the first that is looked at */
export const follow = (head: Head | undefined, text: string): Followed => {
  const link = linkOf(text)
  const wanted = head === undefined ? '' : ` where line ${head.n + 1} should be`
  if (link === undefined) return { ok: false, problem: `something that is no line of this log${wanted}` }
  if (head !== undefined && link.n !== head.n + 1) return { ok: false, problem: `line ${link.n}${wanted}` }
  if (head !== undefined && link.prev !== head.sha256)
    return { ok: false, problem: `line ${link.n} does not follow line ${head.n}: one of them was changed` }
  return { ok: true, head: { n: link.n, sha256: lineHash(text) } }
}

const NUMBER = 12

/** Of a file that has grown large: `signer.jsonl` → `signer-000000000001.jsonl`, by the number of its first line. */
export const keptName = (path: string, first: number): string =>
  path.replace(/(\.[^./]*)?$/, (extension) => `-${String(first).padStart(NUMBER, '0')}${extension}`)

/** The files of the log that is written at `path`: those that were put aside, oldest first, then itself. @throws of the file system */
export const chainFiles = (path: string): readonly string[] => {
  const [head = '', tail = ''] = keptName(basename(path), 0).split('0'.repeat(NUMBER))
  const isKept = (name: string): boolean =>
    name.startsWith(head) &&
    name.endsWith(tail) &&
    /^\d{12}$/.test(name.slice(head.length, name.length - tail.length))
  const kept = readdirSync(dirname(path)).filter(isKept).toSorted()
  return [...kept.map((name) => join(dirname(path), name)), path]
}
