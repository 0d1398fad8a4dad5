/** CPU time that a process has used, from /proc: what an attack costs, however busy the machine is. */

import { readFileSync } from 'node:fs'

/** proc(5): a tick is 1/100 s on every Linux that Node runs on */
const TICK = 10

/** User and system time of all its threads, ms; undefined where there is no /proc. */
const cpuOf = (pid: number): number | undefined => {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // the second field is the name, in brackets, and may hold anything
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK
}

/**
 * @returns what the process has spent since, ms: of CPU; where there is no /proc, of time. On Linux it throws when there is none, or the
 * process has ended: a figure of nothing would hold whatever was asked.
 */
export const meter = (pid: number): (() => number) => {
  const before = cpuOf(pid)
  if (before === undefined && process.platform !== 'linux') {
    const started = performance.now()
    return () => performance.now() - started
  }
  return () => {
    const after = cpuOf(pid)
    if (before === undefined || after === undefined) throw new Error(`/proc says nothing of process ${pid}`)
    return after - before
  }
}
