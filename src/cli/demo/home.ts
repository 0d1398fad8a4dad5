/** The demo's own home, `run/demo-<pid>-…` in the checkout, and its end, however the process ends. Not the user's home. */

import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive } from '../up/lock.ts'

const NAME = /^demo-(\d+)-/

const remove = (path: string): void => rmSync(path, { recursive: true, force: true })

/** Takes away first what demos left that were killed: keys are not left lying about, worthless as they are. */
export const createDemoHome = (checkout: string): Disposable & { readonly path: string } => {
  const run = join(checkout, 'run')
  mkdirSync(run, { recursive: true })
  for (const name of readdirSync(run)) {
    const pid = Number(NAME.exec(name)?.[1] ?? Number.NaN)
    if (Number.isInteger(pid) && !isAlive(pid)) remove(join(run, name))
  }
  const path = mkdtempSync(join(run, `demo-${process.pid}-`))
  const onExit = (): void => remove(path)
  // a second Ctrl-C ends the process where it stands
  process.once('exit', onExit)
  return {
    path,
    [Symbol.dispose]() {
      process.off('exit', onExit)
      remove(path)
    },
  }
}
