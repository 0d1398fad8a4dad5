/** Resident memory of a server, as the kernel counts it. Linux only. */

import { readFileSync } from 'node:fs'

/** Of a program with children (nginx) theirs, else its own. @returns bytes */
export const residentOf = (pid: number): number => {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  const of = children === '' ? [pid] : children.split(' ').map(Number)
  const kb = of.map((each) => /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${each}/status`, 'utf8'))?.[1])
  return kb.reduce((sum, each) => sum + Number(each), 0) * 1_024
}
