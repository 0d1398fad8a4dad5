/** A program that runs to its end on one core: what it said, and what the kernel counted for it and all of its children. Not a server: pinned.ts. */

import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { openSync, closeSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { residentOf } from './resident.ts'

export type Ran = {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** µs, user and system */
  readonly cpu: number
  readonly seconds: number
  /** bytes of the whole tree at its highest, looked at a few times a second */
  readonly peak: number
}

/** bash's own `time` asks the kernel for what it waited for (getrusage(2), RUSAGE_CHILDREN), to the millisecond. */
const TIMED = 'TIMEFORMAT="cpu %3U %3S"; time "$@"'
const LOOK_EVERY = 200

/** @param o.input a file on its stdin. @throws when it was killed */
export const runTimed = async (
  core: number,
  command: readonly string[],
  o: { readonly cwd: string; readonly input?: string },
): Promise<Ran> => {
  const input = openSync(o.input ?? '/dev/null', 'r')
  const began = performance.now()
  const child = spawn('taskset', ['-c', String(core), 'bash', '-c', TIMED, 'bash', ...command], {
    cwd: o.cwd,
    env: { ...process.env, LC_ALL: 'C' },
    stdio: [input, 'pipe', 'pipe'],
  }) as ChildProcessByStdio<null, Readable, Readable>
  closeSync(input)
  let peak = 0
  const looking = setInterval(() => {
    peak = Math.max(peak, residentOf(child.pid as number))
  }, LOOK_EVERY)
  try {
    const [[code], stdout, said] = await Promise.all([
      once(child, 'close') as Promise<[number | null]>,
      text(child.stdout),
      text(child.stderr),
    ])
    const [, user, system] = /cpu ([\d.]+) ([\d.]+)\s*$/.exec(said) ?? []
    if (user === undefined) throw new Error(`${command.join(' ')} was cut off: ${said.slice(-500)}`)
    return {
      code,
      stdout,
      stderr: said.slice(0, said.lastIndexOf('cpu ')),
      cpu: (Number(user) + Number(system)) * 1e6,
      seconds: (performance.now() - began) / 1_000,
      peak,
    }
  } finally {
    clearInterval(looking)
  }
}
