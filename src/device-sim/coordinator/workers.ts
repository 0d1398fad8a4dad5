/** The processes that a simulated fleet is divided among, or this one alone. Not what they are told when: simulate.ts. */

import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Load, Scenario } from '../scenario/scenario.ts'
import type { FromWorker, Part, ToWorker, WorkerStart } from './messages.ts'
import { startPart } from './part.ts'

export type Workers = Disposable & {
  readonly count: number
  /** to one of them, by its index, or to all */
  say(message: Exclude<ToWorker, WorkerStart>, to?: number): void
  /** when all have said `done` or died */
  readonly ended: Promise<void>
}

type Hear = {
  readonly heard: (from: number, message: FromWorker) => void
  /** one has died before it was done; in words */
  readonly lost: (index: number, why: string) => void
}

type Worker = {
  say(message: ToWorker): void
  readonly ended: Promise<void>
  kill(): void
}

/**
 * MiB. Ten thousand devices want about a tenth of it; a leak, or a target that answers with gigabytes, ends one worker and not the machine.
 */
const HEAP = 1_536

/** The same TLS as whoever started us. */
const inherited = (): readonly string[] =>
  process.execArgv.filter((option) => option.startsWith('--openssl-config'))

const PROGRAM = join(import.meta.dirname, 'worker-main.ts')

const forked = (start: WorkerStart, index: number, { heard, lost }: Hear): Worker => {
  const child: ChildProcess = fork(PROGRAM, [], {
    execArgv: [...inherited(), `--max-old-space-size=${HEAP}`],
    // structured clone: undefined stays undefined
    serialization: 'advanced',
    // a process group of its own: a terminal's Ctrl-C is for us, and what is to be done then we say
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ended = Promise.withResolvers<void>()
  let done = false
  const dies = (why: string): void => {
    if (!done) lost(index, why)
    done = true
    ended.resolve()
  }
  child.on('message', (message: FromWorker) => {
    heard(index, message)
    if (message.kind !== 'done') return
    done = true
    child.disconnect()
  })
  child.once('error', (error) => dies(error.message))
  child.once('exit', (code, signal) => dies(signal ?? `exit code ${code}`))
  const say = (message: ToWorker): void => {
    // it may be dying: its end is told by its exit
    if (child.connected) child.send(message, () => {})
  }
  say(start)
  return { say, ended: ended.promise, kill: () => void child.kill('SIGKILL') }
}

const inProcess = (start: WorkerStart, index: number, { heard }: Hear): Worker => {
  const part = startPart(start, (message) => heard(index, message))
  return {
    say: (message) => (message.kind === 'start' ? undefined : part.hear(message)),
    ended: part.ended,
    kill: () => part.hear({ kind: 'end' }),
  }
}

/** @param count 0: in this process */
export const startWorkers = (count: number, startOf: (part: Part) => WorkerStart, hear: Hear): Workers => {
  const of = Math.max(1, count)
  const start = count === 0 ? inProcess : forked
  const workers = Array.from({ length: of }, (_, index) => start(startOf({ index, of }), index, hear))
  return {
    count: of,
    say(message, to) {
      for (const [index, worker] of workers.entries())
        if (to === undefined || to === index) worker.say(message)
    },
    ended: Promise.all(workers.map(({ ended }) => ended)).then(() => {}),
    [Symbol.dispose]() {
      for (const worker of workers) worker.kill()
    },
  }
}

/** What one core does with ease, handshakes by elliptic curves, the server beside it. */
const DEVICES_EACH = 250
const TURNS_EACH = 200

const turnsPerSecond = (load: Load, devices: number): number =>
  load.kind === 'open' ? load.rate : (devices * 1_000) / Math.max(1, load.pace)

/** One for each core, and fewer for a fleet that does not need them. */
export const workersFor = ({ devices, load }: Scenario, cores: number): number => {
  const wanted = Math.max(devices / DEVICES_EACH, turnsPerSecond(load, devices) / TURNS_EACH)
  return Math.max(1, Math.min(cores, devices, Math.ceil(wanted)))
}
