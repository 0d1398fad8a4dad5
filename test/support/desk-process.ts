/** A desk as a process of its own, for tests that kill, starve or freeze one. Ready when it says so in its log. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export type DeskProcess = AsyncDisposable & {
  readonly child: ChildProcess
  readonly urls: Readonly<Record<string, string>>
  readonly logLines: readonly string[]
  /** the signal or code that it ended with */
  readonly ended: Promise<string | number>
}

const ON_LOOPBACK = {
  SALLYPORT_ENROLL_DEVICES_LISTEN: '127.0.0.1:0',
  SALLYPORT_ENROLL_STATUS_LISTEN: '127.0.0.1:0',
  SALLYPORT_ENROLL_OPERATOR_LISTEN: '127.0.0.1:0',
  SALLYPORT_ENROLL_METRICS_LISTEN: '127.0.0.1:0',
}

/**
 * @param o.main relative to the checkout
 * @param o.through a command before node, for limits
 */
export const startDeskProcess = async (o: {
  readonly main: string
  readonly home: string
  readonly env?: Readonly<Record<string, string>>
  readonly through?: readonly string[]
}): Promise<DeskProcess> => {
  const [file, ...args] = [
    ...(o.through ?? []),
    process.execPath,
    '--openssl-config=src/runtime/openssl.cnf',
    o.main,
  ]
  const child = spawn(file as string, args, {
    cwd: new URL('../..', import.meta.url),
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      SALLYPORT_HOME: o.home,
      SALLYPORT_ENVIRONMENT: 'development',
      ...ON_LOOPBACK,
      ...o.env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = once(child, 'exit').then(([code, signal]) => (signal ?? code) as string | number)
  const logLines: string[] = []
  const ready = new Promise<Record<string, string>>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      logLines.push(line)
      if (!line.includes('"msg":"ready"')) return
      resolve((JSON.parse(line) as { urls: Record<string, string> }).urls)
    })
    void ended.then((how) =>
      reject(new Error(`the desk ended with ${how} before it was ready:\n${logLines.join('\n')}`)),
    )
  })
  const urls = await ready
  return {
    child,
    urls,
    logLines,
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
