/**
 * A coordinator that was stopped (Ctrl-Z, SIGSTOP) can neither judge nor end its workers: they stand still as long as it does, so that nobody
 * is loaded by a run that nobody holds. Linux only (proc(5)): elsewhere nobody can say, and they go on.
 */

import { readFileSync } from 'node:fs'

/** by a signal, by a debugger */
const STOPPED = ['T', 't']

/** False for one that has gone. */
export const isStopped = (pid: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // the field after `comm`, which may hold spaces and brackets
    return STOPPED.includes(stat.charAt(stat.lastIndexOf(')') + 2))
  } catch {
    return false
  }
}

/** ms */
const NAP = 100

/** The whole process, timers and sockets with it. */
export const standStillWhile = (stopped: () => boolean): void => {
  const nobody = new Int32Array(new SharedArrayBuffer(4))
  while (stopped()) Atomics.wait(nobody, 0, 0, NAP)
}
