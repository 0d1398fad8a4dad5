/** Programs on one core, ended with the suite; none of them sends a TLS session ticket. */

import { execFileSync, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'

export type Pinned = AsyncDisposable & { readonly child: ChildProcess; readonly pid: number }

const NO_TICKETS = join(import.meta.dirname, 'no-tickets.cnf')

/** @param core the only one it may run on */
export const startPinned = (core: number, command: readonly string[], options: SpawnOptions = {}): Pinned => {
  const env = { ...(options.env ?? process.env), OPENSSL_CONF: NO_TICKETS }
  const child = spawn('taskset', ['-c', String(core), ...command], { stdio: 'ignore', ...options, env })
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

/** This process, with all of its threads, from now on. */
export const pinSelf = (core: number): void => {
  execFileSync('taskset', ['-a', '-c', '-p', String(core), String(process.pid)], { stdio: 'ignore' })
}

/** ms: a busy machine starts slowly */
const PATIENCE = 60_000

/** @returns when `probe` first succeeds. @throws what it threw last, when `patience` is over */
export const whenUp = async (probe: () => Promise<unknown>, patience = PATIENCE): Promise<void> => {
  for (const giveUpAt = performance.now() + patience; ;) {
    try {
      await probe()
      return
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** @returns it, when `probe` first succeeds. @throws as {@link whenUp}; it has ended then, so that it does not outlive a suite that it never came up for */
export const upOrEnded = async (
  program: Pinned,
  probe: () => Promise<unknown>,
  patience = PATIENCE,
): Promise<Pinned> => {
  try {
    await whenUp(probe, patience)
    return program
  } catch (error) {
    await program[Symbol.asyncDispose]()
    throw error
  }
}

/** @returns it, when something takes connections on this port. @throws as {@link upOrEnded} */
export const listening = (program: Pinned, port: number): Promise<Pinned> =>
  upOrEnded(program, async () => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
  })

/** The first line that a command says, wherever it says it. */
export const versionOf = (command: string): string =>
  execFileSync('sh', ['-c', `{ ${command}; } 2>&1 | head -1`], { encoding: 'utf8' }).trim()
