/**
 * A server of somebody else as a child process that can be killed and started again, and what it says. Not one of our desks: those are
 * up-process.ts and its neighbours. Where there is setpriv (Linux) it dies with a test's process that is killed.
 */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { program } from './programs.ts'

/** part of every Linux */
const SETPRIV = process.platform === 'linux' ? program('setpriv') : undefined

export type ForeignProcess = AsyncDisposable & {
  /** everything that it has said, since the first start */
  said(): string
  /** Resolves when it has said this since its last start. @throws when it ends before, or after `within` ms */
  says(words: RegExp, within?: number): Promise<void>
  start(): void
  running(): boolean
  signal(name: NodeJS.Signals): void
  /** and waits until it is gone */
  kill(name?: NodeJS.Signals): Promise<void>
}

/** Not started yet. */
export const foreignProcess = (
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ForeignProcess => {
  let child: ChildProcess | undefined
  let all = ''
  let since = 0
  let stir: (() => void)[] = []
  const heard = (chunk?: Buffer): void => {
    if (chunk !== undefined) all += chunk.toString()
    const woken = stir
    stir = []
    for (const wake of woken) wake()
  }
  const running = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null
  const kill = async (name: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    if (child === undefined || !running()) return
    const gone = once(child, 'close')
    child.kill(name)
    await gone
  }
  return {
    said: () => all,
    says: async (words, within = 20_000) => {
      const deadline = AbortSignal.timeout(within)
      deadline.addEventListener('abort', () => heard())
      while (!words.test(all.slice(since))) {
        if (!running() || deadline.aborted)
          throw new Error(`${file} did not say ${words}:\n${all.slice(since)}`)
        await new Promise<void>((resolve) => void stir.push(resolve))
      }
    },
    start: () => {
      since = all.length
      const inherited = Object.fromEntries(
        Object.entries(process.env).filter(([name]) => !name.startsWith('NODE_')),
      )
      // it becomes the program: the process that is killed and signalled is the same
      const command = SETPRIV === undefined ? [file] : [SETPRIV, '--pdeathsig', 'KILL', file]
      const [first = file, ...rest] = [...command, ...args]
      child = spawn(first, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...inherited, ...env } })
      child.stdout?.on('data', heard)
      child.stderr?.on('data', heard)
      child.on('close', () => heard())
      child.on('error', (error) => heard(Buffer.from(String(error))))
    },
    running,
    signal: (name) => void child?.kill(name),
    kill,
    [Symbol.asyncDispose]: () => kill(),
  }
}
