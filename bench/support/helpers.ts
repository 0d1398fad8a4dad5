/** Programs of this folder that help to measure, as processes on IPC: started on a core, and talked to. Not what is measured: desk.ts, doors.ts. */

import { once } from 'node:events'
import { join } from 'node:path'
import { CHECKOUT } from './desk.ts'
import { startPinned, type Pinned } from './pinned.ts'

export const CLIENT_CORE = 1

/** @param name of a file of this folder */
export const startHelper = (core: number, name: string, ...args: readonly string[]): Pinned =>
  startPinned(core, [process.execPath, join('bench/support', name), ...args], {
    cwd: CHECKOUT,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })

/** Says `question`, and waits for the next thing that it says. */
export const talkTo = async <Q extends object, A>({ child }: Pinned, question?: Q): Promise<A> => {
  const answer = once(child, 'message')
  if (question !== undefined) child.send(question)
  const [said] = (await answer) as [A]
  return said
}
