/** The signer's log: on the disk before anything is answered, each line after the one before, and what it does when the disk does not. */

import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HOUR, type Clock } from '#fleet/clock.ts'
import { openJournal, type Entry, type Journal } from '#enroll/signer/journal.ts'
import { CHAIN_START, chainFiles, follow, linesOf, type Head } from '#registry/chained-lines.ts'
import { createLog } from '#runtime/log.ts'
import { parseSignerLine, type SignerLine } from '#wire/signer-log.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const NOW = 1_000 * HOUR
const SKI = 'ab'.repeat(20)

let folder: ReturnType<typeof temporaryFolder>
let path: string
let logLines: string[]
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'signer.jsonl')
  logLines = []
})
afterEach(() => {
  folder[Symbol.dispose]()
})

const open = (o: { readonly clock?: Clock; readonly fileBytes?: number } = {}): Journal =>
  openJournal({
    path,
    version: '1',
    clock: () => NOW,
    log: createLog('signer', 'debug', { write: (line) => logLines.push(line) }),
    ...o,
  })

const device = (n: number): Entry => ({
  kind: 'device',
  device_id: `lamp-${n}`,
  ski: SKI,
  serial: n.toString(16).padStart(32, '4'),
  sha256: '0'.repeat(64),
  spki_sha256: '1'.repeat(64),
  not_before: NOW,
  not_after: NOW + HOUR,
  content: n.toString(16).padStart(64, '0'),
})
const crl = (number: number): Entry => ({
  kind: 'crl',
  ski: SKI,
  number: String(number),
  sha256: '2'.repeat(64),
  entries: 0,
  this_update: NOW,
  next_update: NOW + HOUR,
})

/** All lines of all files, or why they do not hold. */
const readAll = (): SignerLine[] | string => {
  let head: Head = CHAIN_START
  const lines: SignerLine[] = []
  for (const file of chainFiles(path))
    for (const { text } of linesOf(file)) {
      const followed = follow(head, text)
      if (!followed.ok) return followed.problem
      head = followed.head
      lines.push(parseSignerLine(text) as SignerLine)
    }
  return lines
}
const kinds = (): unknown => {
  const lines = readAll()
  return typeof lines === 'string' ? lines : lines.map(({ kind }) => kind)
}

it('writes lines that follow each other, over restarts', async () => {
  {
    await using journal = open()
    await Promise.all([journal.append(device(1)), journal.append(device(2)), journal.append(crl(7))])
    expect(journal.head().n).toBe(4)
  }
  {
    await using journal = open()
    expect(journal.remembered).toMatchObject({
      head: { n: 4 },
      newest: NOW,
      counted: { hour: 1_000, counts: new Map(Object.entries({ certificates: 2, [`crls ${SKI}`]: 1 })) },
      crlNumbers: new Map([[SKI, 7n]]),
      serials: [1, 2].map((n) => [
        (device(n) as { serial: string }).serial,
        (device(n) as { content: string }).content,
      ]),
    })
    await journal.append(device(3))
  }
  expect(kinds()).toEqual(['opened', 'device', 'device', 'crl', 'opened', 'device'])
  expect(statSync(path).mode & 0o777).toBe(0o640)
})

it('counts a certificate that is signed again and again, and each time of it', async () => {
  {
    await using journal = open()
    for (const again of [undefined, 1, 2, 3, 4, 5])
      await journal.append({ ...device(1), ...(again === undefined ? {} : { again }) } as Entry)
  }
  await using journal = open()
  expect(journal.remembered.counted.counts).toEqual(new Map([['certificates', 3]]))
  expect(journal.remembered.serials).toHaveLength(6)
})

it('writes nothing before something is signed, and is the same file when nothing ever was', async () => {
  {
    await using _ = open()
  }
  expect(statSync(path).size).toBe(0)
})

it('lines of one turn share a write, and are answered for together', async () => {
  await using journal = open()
  const order: string[] = []
  const appended = [1, 2, 3].map((n) => journal.append(device(n)).then(() => order.push(`line ${n}`)))
  await new Promise((resolve) => setImmediate(resolve))
  // written in one piece, and none is answered for while it is not known to be on the disk
  expect(readAll()).toHaveLength(4)
  expect(order).toEqual([])
  await Promise.all(appended)
  expect(order).toEqual(['line 1', 'line 2', 'line 3'])
})

it('a file that has grown large is kept under another name, and the chain and the counts go on', async () => {
  {
    await using journal = open({ fileBytes: 1_000 })
    await journal.append(crl(5))
    for (let n = 1; n <= 12; n += 1) await journal.append(device(n))
  }
  const files = readdirSync(folder.path).toSorted()
  expect(files.length).toBeGreaterThan(3)
  expect(files.slice(0, 1)).toEqual(['signer-000000000001.jsonl'])
  expect(files.at(-1)).toBe('signer.jsonl')
  const lines = readAll() as SignerLine[]
  expect(lines.filter(({ kind }) => kind === 'device')).toHaveLength(12)
  await using journal = open({ fileBytes: 1_000 })
  // though the lines that say it stand in files that are not read again
  expect(journal.remembered.counted).toEqual({
    hour: 1_000,
    counts: new Map(Object.entries({ certificates: 12, [`crls ${SKI}`]: 1 })),
  })
  expect(journal.remembered.crlNumbers).toEqual(new Map([[SKI, 5n]]))
  expect(journal.remembered.head.n).toBe(lines.length)
})

it('a crash between the two names of a file leaves a chain that goes on', async () => {
  {
    await using journal = open()
    await journal.append(device(1))
  }
  renameSync(path, join(folder.path, 'signer-000000000001.jsonl'))
  await using journal = open()
  await journal.append(device(2))
  expect(kinds()).toEqual(['opened', 'device', 'opened', 'device'])
})

describe('a line that was never finished', () => {
  it.each<[string, string | Buffer]>([
    ['half of one', '{"n":3,"at":"2027'],
    ['zeros that a power cut left', Buffer.alloc(4_096)],
  ])('%s is cut off, and said', async (_, rest) => {
    {
      await using journal = open()
      await journal.append(device(1))
    }
    appendFileSync(path, rest)
    {
      await using journal = open()
      expect(logLines.join('')).toContain('never finished')
      await journal.append(device(2))
    }
    expect(kinds()).toEqual(['opened', 'device', 'opened', 'device'])
  })
})

describe('a log that somebody has been at', () => {
  const lines = (): string[] => readFileSync(path, 'utf8').split('\n')
  it.each<[string, (all: string[]) => string[], string]>([
    ['a line cut out', ([a, , ...rest]) => [a as string, ...rest], 'where line 2 should be'],
    ['a line changed', (all) => all.map((line) => line.replace('lamp-1', 'lamp-9')), 'does not follow'],
    ['two lines exchanged', ([a, b, c, ...rest]) => [a, c, b, ...rest] as string[], 'where line 2 should be'],
    ['a line put in', ([a, b, ...rest]) => [a, b, b, ...rest] as string[], 'where line 3 should be'],
    ['something that is no line', ([a, ...rest]) => [a as string, 'x', ...rest], 'no line of this log'],
    [
      'another field',
      (all) => all.map((line) => line.replace('"kind":"device"', '"kind":"dev"')),
      'not ours',
    ],
  ])('%s: the signer does not start', async (_, change, problem) => {
    {
      await using journal = open()
      for (const n of [1, 2, 3]) await journal.append(device(n))
    }
    writeFileSync(path, change(lines()).join('\n'))
    expect(() => open()).toThrow(
      expect.objectContaining({ code: 'config_invalid', detail: expect.stringContaining(problem) }),
    )
  })
})

it('taken away while it is written: a new file goes on with the chain', async () => {
  await using journal = open()
  await journal.append(device(1))
  renameSync(path, join(folder.path, 'signer-000000000001.jsonl'))
  await journal.append(device(2))
  expect(kinds()).toEqual(['opened', 'device', 'opened', 'device'])
  expect(logLines.join('')).toContain('taken away')
})

it('what cannot be written is refused, and leaves nothing; later lines go on', async () => {
  await using journal = open()
  await journal.append(device(1))
  // a folder in the place of the next file: nobody can open it
  renameSync(path, `${path}.old`)
  mkdirSync(path)
  await expect(journal.append(device(2))).rejects.toMatchObject({ code: 'issuer_unusable', retryAfter: 5 })
  await expect(journal.append(device(3))).rejects.toMatchObject({ code: 'issuer_unusable' })
  expect(logLines.filter((line) => line.includes('cannot be written'))).toHaveLength(1)
  renameSync(path, `${path}.folder`)
  renameSync(`${path}.old`, path)
  await journal.append(device(4))
  expect(kinds()).toEqual(['opened', 'device', 'device'])
  expect(logLines.join('')).toContain('can be written again')
})

it('is closed after its last line', async () => {
  const journal = open()
  const last = journal.append(device(1))
  await journal[Symbol.asyncDispose]()
  await last
  await expect(journal.append(device(2))).rejects.toMatchObject({ code: 'issuer_unusable' })
  expect(kinds()).toEqual(['opened', 'device'])
})
