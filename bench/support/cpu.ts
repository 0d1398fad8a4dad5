/** CPU time of a process and all of its children, as the kernel counts it. Linux only. */

import { readdirSync, readFileSync } from 'node:fs'
import { treeOf, type ProcessStat } from './process-tree.ts'

const TICK = 10_000

/** @returns µs; 0 where it has ended */
const ofThread = (pid: number, thread: string): number => {
  try {
    const [nanos] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)
    return Number(nanos) / 1_000
  } catch {
    return 0
  }
}

/** To the nanosecond, of the threads that are there. @returns µs; 0 where it has ended */
const ofThreads = (pid: number): number => {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + ofThread(pid, thread), 0)
  } catch {
    return 0
  }
}

/** By process, µs of threads that have ended. Ticks have them, but are behind by up to one: the most that was ever seen, so that it does not come and go. */
const ended = new Map<number, number>()

const ofProcess = ({ pid, ticks, childTicks }: ProcessStat): number => {
  const threads = ofThreads(pid)
  if (threads === 0) return (ticks + childTicks) * TICK
  const most = Math.max(ended.get(pid) ?? 0, ticks * TICK - threads)
  ended.set(pid, most)
  return threads + most + childTicks * TICK
}

/** @returns µs, user and system, of the whole tree under `root`, children that have ended included */
export const cpuOfTree = (root: number): number => treeOf(root).reduce((sum, one) => sum + ofProcess(one), 0)
