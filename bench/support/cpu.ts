/** CPU time of a process and all of its children, as the kernel counts it. Linux only. */

import { readdirSync, readFileSync } from 'node:fs'

const stat = (pid: number): { parent: number; ticks: number } | undefined => {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // the command may hold spaces and parentheses: what follows the last one is fields 3 and on (proc_pid_stat(5))
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }
}

const TICKS_PER_SECOND = 100

/** @returns utime + stime of the tree under `root`, µs; a tick is 10,000 µs, so measure for seconds */
export const cpuOfTree = (root: number): number => {
  const seen = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const found = stat(Number(name))
      return found === undefined ? [] : [{ pid: Number(name), ...found }]
    })
  const tree = new Set([root])
  for (let grew = true; grew;) {
    grew = false
    for (const { pid, parent } of seen)
      if (tree.has(parent) && !tree.has(pid)) {
        tree.add(pid)
        grew = true
      }
  }
  const ticks = seen.filter(({ pid }) => tree.has(pid)).reduce((sum, one) => sum + one.ticks, 0)
  return (ticks * 1_000_000) / TICKS_PER_SECOND
}
