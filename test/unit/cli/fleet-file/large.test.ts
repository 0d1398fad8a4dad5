/** A file of 100,000 devices in each format: every row comes, in order, and what is kept does not grow with the file. */

import { createWriteStream, statSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { type Format } from '#cli/fleet-file/format.ts'
import { readRows } from '#cli/fleet-file/read.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const ROWS = 100_000
/** octets: a quarter of the file or less. What is in the way has been collected when it is counted. */
const MOST_GROWTH = 4 * 1_048_576

const SPKI = 'ab'.repeat(32)
const NOTE = 'north '.repeat(12)
const idOf = (row: number): string => `pump-${row}`
const jsonOf = (row: number): string =>
  JSON.stringify({ id: idOf(row), group: 'pumps', tags: { note: NOTE, row: String(row) }, spki_sha256: SPKI })

/** What stands before the first row, each row, what stands after the last. */
const WRITTEN: Readonly<Record<Format, readonly [string, (row: number) => string, string]>> = {
  csv: [
    'id,group,tags.note,tags.row,spki_sha256\n',
    (row) => `${idOf(row)},pumps,${NOTE},${row},${SPKI}\n`,
    '',
  ],
  json: ['[', (row) => `${row === 1 ? '' : ',\n'}${jsonOf(row)}`, ']\n'],
  ndjson: ['', (row) => `${jsonOf(row)}\n`, ''],
}

const write = async (path: string, [before, rowText, after]: (typeof WRITTEN)[Format]): Promise<void> => {
  const chunks = function* () {
    yield before
    for (let row = 1; row <= ROWS; row += 1) yield rowText(row)
    yield after
  }
  await pipeline(Readable.from(chunks()), createWriteStream(path))
}

/** @returns octets that are held, by the program and not only until they are collected */
const meter = (): (() => number) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  return () => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
}

test.each<Format>(['csv', 'json', 'ndjson'])(
  '%s',
  async (format) => {
    using folder = temporaryFolder()
    const path = join(folder.path, `fleet.${format}`)
    await write(path, WRITTEN[format])
    expect(statSync(path).size).toBeGreaterThan(3.5 * MOST_GROWTH)

    const held = meter()
    // what the writing has left is on its way out
    await nextTurn()
    const before = held()
    let most = 0
    let next = 1
    for await (const { number, line } of readRows(path, format)) {
      if (number !== next || line?.id !== idOf(next) || line.tags?.['row'] !== String(next))
        throw new Error(`row ${number} is not ${idOf(next)}`)
      next += 1
      // whoever reads is slower than the disk: what nobody has asked for yet must not pile up either
      if (number % 500 === 0) await nextTurn()
      if (number % (ROWS / 10) === 0) most = Math.max(most, held() - before)
    }
    expect(next - 1).toBe(ROWS)
    expect(most).toBeLessThan(MOST_GROWTH)
  },
  60_000,
)
