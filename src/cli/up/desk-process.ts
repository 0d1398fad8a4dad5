/**
 * One child of `up`: started, waited for until it says where it listens, ended. Its log goes to a file, so that it can go on
 * writing whatever becomes of us; it ends when our IPC channel closes, which our death does too (#runtime/stop.ts).
 */

import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { FleetError } from '#fleet/errors.ts'
import { readRunFile } from '#runtime/run-file.ts'
import type { Desk } from '#wire/run-file.ts'
import { openLogFile, readLogFile } from './log-file.ts'

const POLL = 20
/** Longer than any honest start: the gateway alone may wait 10 s for its registry. */
const START_WITHIN = 30_000
/** A desk gives itself 10 s to stop. */
const STOP_WITHIN = 12_000
const LAST_WORDS = 8

export type DeskProcess = AsyncDisposable & {
  readonly name: Desk
  readonly pid: number | undefined
  readonly logPath: string
  /** where, in the log file, this process began */
  readonly logFrom: number
  readonly urls: Readonly<Record<string, string>>
  /** resolves when the process has ended, for whatever reason */
  readonly ended: Promise<void>
  /** what to say when it was not asked to */
  whyEnded(): FleetError
  /** at once */
  kill(): void
}

type Line = { readonly level?: unknown; readonly msg?: unknown }

const parseLine = (line: string): Line | undefined => {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

const linesSince = (path: string, from: number): string[] => {
  using reader = readLogFile(path, from)
  return reader.read()
}

/** A desk that could not start says why in its last line; 2 is its code for a setting or a taken port. */
const explain = (name: Desk, child: ChildProcess, path: string, from: number): FleetError => {
  const lines = linesSince(path, from).filter((line) => line.trim() !== '')
  const last = parseLine(lines.at(-1) ?? '')
  if (child.exitCode === 2 && typeof last?.msg === 'string')
    return new FleetError('config_invalid', `${name}: ${last.msg}`)
  const how = child.signalCode ?? `exit code ${child.exitCode}`
  const words = lines.slice(-LAST_WORDS).map((line) => `\n  ${line}`)
  return new FleetError(
    'expectation_broken',
    `${name} ended by itself (${how}). Its log: ${path}${words.length === 0 ? '' : '\nIts last lines:'}${words.join('')}`,
  )
}

/** Ready is when its run file is there, and is its own. */
const ready = async (
  { home, name, signal }: { home: string; name: Desk; signal?: AbortSignal | undefined },
  child: ChildProcess,
  broken: () => FleetError,
): Promise<Readonly<Record<string, string>>> => {
  for (let waited = 0; waited < START_WITHIN; waited += POLL) {
    signal?.throwIfAborted()
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) throw broken()
    const found = readRunFile(home, name)
    if (found !== undefined && found.pid === child.pid) return found.urls
    await delay(POLL)
  }
  throw new FleetError('expectation_broken', `${name} did not get ready within ${START_WITHIN / 1_000} s`)
}

const end = async (child: ChildProcess, ended: Promise<void>): Promise<void> => {
  if (child.connected) child.disconnect()
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN)
  await ended
  clearTimeout(late)
}

/** @throws config_invalid with the desk's own words when it exits 2, expectation_broken when it ends or hangs otherwise */
export const startDesk = async (o: {
  readonly name: Desk
  readonly home: string
  readonly cwd: string
  /** for node: options, the program, its arguments */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly logPath: string
  readonly signal?: AbortSignal | undefined
}): Promise<DeskProcess> => {
  const { fd, from } = openLogFile(o.logPath)
  const child = spawn(process.execPath, [...o.args], {
    cwd: o.cwd,
    env: { ...o.env },
    stdio: ['ignore', fd, fd, 'ipc'],
  })
  closeSync(fd)
  const ended = once(child, 'exit').then(
    () => {},
    () => {},
  )
  const whyEnded = (): FleetError => explain(o.name, child, o.logPath, from)
  try {
    const urls = await ready(o, child, whyEnded)
    return {
      name: o.name,
      pid: child.pid,
      logPath: o.logPath,
      logFrom: from,
      urls,
      ended,
      whyEnded,
      kill: () => child.kill('SIGKILL'),
      [Symbol.asyncDispose]: () => end(child, ended),
    }
  } catch (error) {
    await end(child, ended)
    throw error
  }
}
