/** Long work in a process that serves others meanwhile. Not shorter work: each turn costs a little. */

import { setImmediate as nextTurn } from 'node:timers/promises'

/** Everybody else has a turn after each step. @throws what the work throws */
export const inTurns = async <T>(work: Generator<undefined, T>): Promise<T> => {
  let step = work.next()
  while (step.done !== true) {
    await nextTurn()
    step = work.next()
  }
  return step.value
}
