/** `run/<desk>.json`: a desk says where it listens, others on this machine find it. Not a lock, and no proof of who listens there. */

import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseRunFile, type Desk, type RunFile } from '#wire/run-file.ts'

/** package.json's */
export const VERSION: string = (
  JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8')) as {
    version: string
  }
).version

const pathOf = (home: string, desk: Desk): string => join(home, 'run', `${desk}.json`)

/** Atomic. For this process. */
export const writeRunFile = (home: string, desk: Desk, urls: Readonly<Record<string, string>>): void => {
  const path = pathOf(home, desk)
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const content: RunFile = { pid: process.pid, version: VERSION, urls: { ...urls } }
  mkdirSync(join(home, 'run'), { recursive: true })
  writeFileSync(temporary, `${JSON.stringify(content)}\n`)
  renameSync(temporary, path)
}

const read = (home: string, desk: Desk): RunFile | undefined => {
  try {
    return parseRunFile(readFileSync(pathOf(home, desk), 'utf8'))
  } catch {
    return undefined
  }
}

/** Only our own: a desk that was started in our place keeps its file. */
export const removeRunFile = (home: string, desk: Desk): void => {
  if (read(home, desk)?.pid === process.pid) rmSync(pathOf(home, desk), { force: true })
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: alive, and another user's
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** undefined: none, malformed, or its process is gone. */
export const readRunFile = (home: string, desk: Desk): RunFile | undefined => {
  const found = read(home, desk)
  return found !== undefined && found.pid > 0 && isAlive(found.pid) ? found : undefined
}
