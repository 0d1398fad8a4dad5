/** Programs on one core, ended with the suite. */

import { execFileSync, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'

export type Pinned = AsyncDisposable & { readonly child: ChildProcess; readonly pid: number }

/** @param core the only one it may run on */
export const startPinned = (core: number, command: readonly string[], options: SpawnOptions = {}): Pinned => {
  const child = spawn('taskset', ['-c', String(core), ...command], { stdio: 'ignore', ...options })
  const ended = once(child, 'exit')
  return {
    child,
    // taskset becomes the command
    pid: child.pid as number,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** @returns when `probe` first succeeds. @throws what it threw last, after 20 s */
export const whenUp = async (probe: () => Promise<unknown>): Promise<void> => {
  for (const giveUpAt = performance.now() + 20_000; ;) {
    try {
      await probe()
      return
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** @returns when something takes connections on this port. @throws as {@link whenUp} */
export const whenListening = (port: number): Promise<void> =>
  whenUp(async () => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
  })

/** The first line that a command says, wherever it says it. */
export const versionOf = (command: string): string =>
  execFileSync('sh', ['-c', `{ ${command}; } 2>&1 | head -1`], { encoding: 'utf8' }).trim()
