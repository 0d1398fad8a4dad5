/** Another process that holds a lock on a SQLite file until it is let go. Not a registry. */

import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { once } from 'node:events'

const sqlite = createRequire(import.meta.url).resolve('better-sqlite3')

const script = `
  const Database = require(${JSON.stringify(sqlite)})
  const database = new Database(process.argv[1], { timeout: 5000 })
  for (const sql of process.argv.slice(2)) database.exec(sql)
  process.stdin.resume().on('end', () => process.exit())
  process.stdout.write('held')
`

export type LockHolder = AsyncDisposable & { release(): Promise<void> }

/** @param statements run in order; the last of them takes the lock */
export const holdLock = async (path: string, ...statements: readonly string[]): Promise<LockHolder> => {
  const child = spawn(process.execPath, ['-e', script, path, ...statements], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  await Promise.race([
    once(child.stdout, 'data'),
    exited.then(() => Promise.reject(new Error('the lock was not taken'))),
  ])
  const release = async (): Promise<void> => {
    child.stdin.end()
    await exited
  }
  return { release, [Symbol.asyncDispose]: release }
}

/** Counts turns of the event loop that come at least 5 ms apart: a process that is blocked has none. */
export const countTicks = (): Disposable & {
  readonly ticks: () => number
  after(ticks: number): Promise<void>
} => {
  let ticks = 0
  const waiting: { readonly at: number; readonly resolve: () => void }[] = []
  const timer = setInterval(() => {
    ticks += 1
    while (waiting[0] !== undefined && waiting[0].at <= ticks) waiting.shift()?.resolve()
  }, 5)
  return {
    ticks: () => ticks,
    after: (count) =>
      new Promise((resolve) => {
        waiting.push({ at: ticks + count, resolve })
      }),
    [Symbol.dispose]: () => clearInterval(timer),
  }
}
