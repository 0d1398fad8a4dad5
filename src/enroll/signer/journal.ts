/**
 * The signer's log: one line for each thing it signed, on the disk before the answer leaves. Lines that come in one turn share a write
 * and an fsync; each holds the hash of the one before. A file that has grown large keeps its lines under another name. Not the
 * shape of a line: #wire/signer-log.ts; not what the lines of before say: remembered.ts; not who may sign what: signing.ts.
 */

import {
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { keptName, lineHash, type Head } from '#registry/chained-lines.ts'
import type { Log } from '#runtime/log.ts'
import type { SignerLine } from '#wire/signer-log.ts'
import { apply, readBack, type Remembered } from './remembered.ts'

const toDisk = promisify(fdatasync)

/** Lines in one write. */
const BATCH = 1_000
/** Lines that wait for the disk: more are refused at once. */
const MOST_WAITING = 20_000
/** Bytes, before a file is put aside. */
const FILE_BYTES = 64 * 1_048_576
/** The group may read it: an auditor, the desk that compares. */
const FILE_MODE = 0o640

type Placed = 'n' | 'at' | 'prev'
/** What the caller says; its place in the chain comes when it is written. */
export type Entry = { [K in SignerLine['kind']]: Omit<Extract<SignerLine, { kind: K }>, Placed> }[Exclude<
  SignerLine['kind'],
  'opened'
>]

export interface Journal extends AsyncDisposable {
  readonly remembered: Remembered
  /** Resolves when the line is on the disk. @throws issuer_unusable: it is not, and nothing of it is */
  append(entry: Entry): Promise<void>
  /** when the newest line was written, ms */
  newest(): number
  /** the last line on the disk */
  head(): Head
}

const writeAll = (fd: number, bytes: Buffer): void => {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
}

/** A name too must outlive a power cut. */
const syncFolder = (path: string): void => {
  const fd = openSync(dirname(path), 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

const openFile = (path: string): number => {
  const fd = openSync(path, 'a', FILE_MODE)
  syncFolder(path)
  return fd
}

type Waiting = {
  readonly entry: Entry
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * @param o.path its folder exists, and only this process writes there
 * @param o.fileBytes for tests
 * @throws FleetError `config_invalid`: it cannot be opened, or its lines do not follow each other
 */
export const openJournal = (o: {
  readonly path: string
  readonly version: string
  readonly clock: Clock
  readonly log: Log
  readonly fileBytes?: number
}): Journal => {
  const { path, clock, log, fileBytes = FILE_BYTES } = o
  let fd: number
  let read: ReturnType<typeof readBack>
  try {
    fd = openFile(path)
    read = readBack(path)
  } catch (cause) {
    if (cause instanceof FleetError) throw cause
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new FleetError('config_invalid', `signer.log: ${path} cannot be used: ${code}`, { cause })
  }
  const { state, serials, first } = read
  const remembered: Remembered = {
    head: state.head,
    newest: state.newest,
    crlNumbers: new Map(state.crlNumbers),
    counted: { hour: state.hour, counts: new Map(state.counts) },
    serials,
  }

  /** bytes of whole lines that are on the disk; what stands after them was never answered for */
  let durable = read.whole
  let beginsWith = first
  /** something may stand after them */
  let untidy = fstatSync(fd).size > durable
  /** the first line of this process, and of each file */
  let mustOpen = true
  let failures = 0
  let closed = false
  const waiting: Waiting[] = []
  let running: Promise<void> | undefined

  const startFile = (): void => {
    const next = openFile(path)
    closeSync(fd)
    fd = next
    ;[durable, beginsWith, mustOpen] = [fstatSync(fd).size, 0, true]
  }

  /** The file under our name is still the one that we have open, and has room. */
  const keepFile = (): void => {
    const [ours, there] = [fstatSync(fd), statSync(path, { throwIfNoEntry: false })]
    if (there?.ino !== ours.ino || there.dev !== ours.dev) {
      log.error({ path }, 'the log has been taken away: its lines go on in a new file')
      startFile()
      if (durable > 0) throw new Error('a file that is not ours is in the place of the log')
    }
    if (untidy) {
      ftruncateSync(fd, durable)
      untidy = false
    }
    if (durable < fileBytes) return
    const kept = keptName(path, beginsWith)
    renameSync(path, kept)
    startFile()
    log.info({ kept, lines: state.head.n, sha256: state.head.sha256 }, 'the log goes on in a new file')
  }

  const textOf = (entries: readonly object[]): { text: string; lines: readonly [SignerLine, Head][] } => {
    let { head } = state
    const at = new Date(clock()).toISOString()
    let text = ''
    const lines = entries.map((entry): [SignerLine, Head] => {
      const line = { n: head.n + 1, at, ...entry, prev: head.sha256 } as SignerLine
      const written = JSON.stringify(line)
      head = { n: line.n, sha256: lineHash(written) }
      text += `${written}\n`
      return [line, head]
    })
    return { text, lines }
  }

  const write = async (entries: readonly Entry[]): Promise<void> => {
    keepFile()
    const opened = {
      kind: 'opened',
      version: o.version,
      crl_numbers: Object.fromEntries([...state.crlNumbers].map(([ski, number]) => [ski, String(number)])),
      hour: state.hour,
      signed_in_hour: Object.fromEntries(state.counts),
    }
    const { text, lines } = textOf(mustOpen ? [opened, ...entries] : entries)
    const bytes = Buffer.from(text)
    untidy = true
    writeAll(fd, bytes)
    await toDisk(fd)
    untidy = false
    durable += bytes.length
    mustOpen = false
    beginsWith ||= lines[0]?.[0].n ?? 0
    for (const [line, head] of lines) apply(state, line, head)
  }

  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, BATCH)
      try {
        await write(batch.map(({ entry }) => entry))
        if (failures > 0) log.info({ failures }, 'the log can be written again')
        failures = 0
        for (const { resolve } of batch) resolve()
      } catch (cause) {
        // once per outage: a full disk is one fact
        if (failures === 0) log.error({ err: cause }, 'the log cannot be written: nothing is signed')
        failures += 1
        const error = new FleetError('issuer_unusable', 'the signer cannot write its log', {
          cause,
          retryAfter: 5,
        })
        for (const { reject } of batch) reject(error)
      }
    }
    running = undefined
  }

  if (untidy)
    log.warn(
      { path, bytes: fstatSync(fd).size - durable },
      'the end of the log was never finished, and is cut off',
    )
  return {
    remembered,
    newest: () => state.newest,
    head: () => state.head,
    append: (entry) =>
      new Promise((resolve, reject) => {
        if (closed || waiting.length >= MOST_WAITING)
          return reject(new FleetError('issuer_unusable', 'the signer is busy or closed', { retryAfter: 1 }))
        waiting.push({ entry, resolve, reject })
        // those of the same turn come along
        running ??= new Promise<void>((begin) => setImmediate(begin)).then(run)
      }),
    async [Symbol.asyncDispose]() {
      closed = true
      await running
      closeSync(fd)
    },
  }
}
