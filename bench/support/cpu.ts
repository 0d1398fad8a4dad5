/** CPU time of a process and all of its children, as the kernel counts it. Linux only. */

import { readdirSync, readFileSync } from 'node:fs'
import { treeOf, type ProcessStat } from './process-tree.ts'

const TICK = 10_000

/** To the nanosecond, of the threads that are there. @returns µs; 0 where it has ended */
const ofThreads = (pid: number): number => {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ', 1)[0]))
      .reduce((sum, nanos) => sum + nanos / 1_000, 0)
  } catch {
    return 0
  }
}

/** Ticks are coarse, and have the threads that ended: then they are the larger. */
const ofProcess = ({ pid, ticks, childTicks }: ProcessStat): number =>
  Math.max(ofThreads(pid), ticks * TICK) + childTicks * TICK

/** @returns µs, user and system, of the whole tree under `root`, children that have ended included */
export const cpuOfTree = (root: number): number => treeOf(root).reduce((sum, one) => sum + ofProcess(one), 0)
