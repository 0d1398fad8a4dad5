/** A process and all of its children, as the kernel has them now. Linux only. */

import { readdirSync, readFileSync } from 'node:fs'

export type ProcessStat = {
  readonly pid: number
  readonly parent: number
  /** of its own, those of threads that have ended included, 10 ms each */
  readonly ticks: number
  /** of children that have ended and were waited for */
  readonly childTicks: number
}

const statOf = (pid: number): ProcessStat | undefined => {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // the command may hold spaces and parentheses: what follows the last one is fields 3 and on (proc_pid_stat(5))
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number) as [number, ...number[]]
  const at = (field: number): number => fields[field - 3] as number
  return { pid, parent: at(4), ticks: at(14) + at(15), childTicks: at(16) + at(17) }
}

/** @returns `root` and what descends from it; empty when it has ended */
export const treeOf = (root: number): readonly ProcessStat[] => {
  const seen = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(Number(name)) ?? [])
  const tree = new Set([root])
  for (let grew = true; grew;) {
    grew = false
    for (const { pid, parent } of seen)
      if (tree.has(parent) && !tree.has(pid)) {
        tree.add(pid)
        grew = true
      }
  }
  return seen.filter(({ pid }) => tree.has(pid))
}
