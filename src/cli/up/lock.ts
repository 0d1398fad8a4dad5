/** One `up` per home: `run/up.pid`. Not for desks started one by one: their ports are their lock. */

import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FleetError } from '#fleet/errors.ts'
import { readRunFile } from '#runtime/run-file.ts'

const POLL = 50
const ORPHANS_END_WITHIN = 3_000

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: alive, and another user's
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** of `starttime` in /proc/<pid>/stat (proc(5)), counted from the field after `comm`, which may hold spaces and brackets */
const STARTED = 19

/** When it began, as the system counts it; empty: nobody says so here. Another process of the same id has another one. */
const startOf = (pid: number): string => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[STARTED] ?? ''
  } catch {
    return ''
  }
}

/** What this process has in its hands. */
const held = new Set<string>()

/** In a container every run may be process 1: its id says nothing, but when it began does. */
const holder = (path: string, known = path): number | undefined => {
  try {
    const [, id, started] = /^(\d{1,10})(?: (\d+))?\n?$/.exec(readFileSync(path, 'utf8')) ?? []
    const pid = Number(id)
    if (!(pid > 0) || !isAlive(pid)) return undefined
    if (pid === process.pid) return held.has(known) ? pid : undefined
    return started === undefined || started === startOf(pid) ? pid : undefined
  } catch {
    return undefined
  }
}

const refuse = (home: string, pid: number, path: string): never => {
  throw new FleetError(
    'config_invalid',
    `Sallyport is already up on ${home} (process ${pid}). Stop that one (Ctrl-C in its terminal), or start another beside it ` +
      `with its own files: SALLYPORT_HOME=/some/where npm start -- --ports 0. If process ${pid} is something else, remove ${path}.`,
  )
}

/** link(2) makes the file and its content in one step, and refuses an existing name. */
const claim = (path: string): boolean => {
  const draft = `${path}.${process.pid}.tmp`
  try {
    writeFileSync(draft, `${process.pid} ${startOf(process.pid)}`.trimEnd() + '\n')
    linkSync(draft, path)
    held.add(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Removes a stale lock, and only that: between our look and our hand, another `up` may have done the same and put its own there. */
const setAside = (path: string): void => {
  const aside = `${path}.${process.pid}.stale`
  try {
    renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  try {
    // not stale: back with it, unless a third one was faster, who then finds two alive and is told so
    if (holder(aside, path) !== undefined) linkSync(aside, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

/** A desk whose parent was killed ends by itself, but not at once. */
const deskAlive = async (home: string): Promise<'enroll' | 'gateway' | undefined> => {
  const find = () => (['enroll', 'gateway'] as const).find((name) => readRunFile(home, name) !== undefined)
  for (let waited = 0; find() !== undefined && waited < ORPHANS_END_WITHIN; waited += POLL) await delay(POLL)
  return find()
}

/**
 * A file that one living process has at a time; one that was left by a killed process is nobody's. Its folder must exist.
 * @param refuse throws: it is the lock of process `pid`
 */
export const lockFile = (path: string, refuse: (pid: number, path: string) => never): Disposable => {
  const mine = {
    [Symbol.dispose]() {
      held.delete(path)
      rmSync(path, { force: true })
    },
  }
  if (claim(path)) return mine
  const pid = holder(path)
  if (pid !== undefined) refuse(pid, path)
  // its process was killed
  setAside(path)
  if (!claim(path)) refuse(holder(path) ?? 0, path)
  return mine
}

/** @throws config_invalid when another `up`, or a desk started by hand, is alive on this home */
export const lockHome = async (home: string): Promise<Disposable> => {
  const path = join(home, 'run', 'up.pid')
  mkdirSync(join(home, 'run'), { recursive: true })
  const lock = lockFile(path, (pid) => refuse(home, pid, path))
  const desk = await deskAlive(home)
  if (desk === undefined) return lock
  const pid = readRunFile(home, desk)?.pid
  lock[Symbol.dispose]()
  throw new FleetError(
    'config_invalid',
    `a desk is already running on ${home}: ${desk}, process ${pid}. Stop it first.`,
  )
}
