/** CPU time that a process has used, from /proc: what an attack costs, however busy the machine is. Linux only. */

import { readFileSync } from 'node:fs'

/** proc(5): a tick is 1/100 s on every Linux that Node runs on */
const TICK = 10

/** User and system time of all its threads, ms; undefined where there is no /proc. */
export const cpuOf = (pid: number): number | undefined => {
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
