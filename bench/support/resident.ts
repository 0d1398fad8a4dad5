/** Resident memory of a program, as the kernel counts it. Linux only. */

import { readFileSync } from 'node:fs'
import { treeOf } from './process-tree.ts'

const ofProcess = (pid: number): number => {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024
  } catch {
    return 0
  }
}

/** @returns bytes, of it and all of its children; what they share counts for each */
export const residentOf = (root: number): number =>
  treeOf(root).reduce((sum, { pid }) => sum + ofProcess(pid), 0)
