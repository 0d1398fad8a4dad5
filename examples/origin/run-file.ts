/** Says where the origin listens, as Sallyport's own processes do: `run/origin.json` under SALLYPORT_HOME. Removed on exit. */

import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** @returns takes the file away again */
export const announce = (urls: Readonly<Record<string, string>>): (() => void) => {
  const home = resolve(process.env['SALLYPORT_HOME'] ?? join(import.meta.dirname, '../..'))
  const file = join(home, 'run', 'origin.json')
  mkdirSync(join(home, 'run'), { recursive: true })
  writeFileSync(`${file}.tmp`, JSON.stringify({ pid: process.pid, version: '1', urls }))
  renameSync(`${file}.tmp`, file)
  return () => rmSync(file, { force: true })
}
