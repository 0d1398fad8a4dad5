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

/** Says `question`, and waits for the next thing that it says. @throws when it ends instead */
export const talkTo = async <Q extends object, A>({ child }: Pinned, question?: Q): Promise<A> => {
  const over = new AbortController()
  const answer = once(child, 'message', { signal: over.signal })
  const ended = once(child, 'exit', { signal: over.signal }).then(([code, signal]) => {
    throw new Error(`${child.spawnargs.at(-1)} has ended: ${code ?? signal}`)
  })
  if (question !== undefined) child.send(question)
  try {
    const [said] = (await Promise.race([answer, ended])) as [A]
    return said
  } finally {
    over.abort()
    await Promise.allSettled([answer, ended])
  }
}
