/** The processes that a simulated fleet is divided among, or this one alone. Not what they are told when: simulate.ts. */

import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Load, Scenario } from '../scenario/scenario.ts'
import type { Enrolled } from '../client/identity.ts'
import { givenTo } from './given.ts'
import type { FromWorker, Part, ToWorker, WorkerStart } from './messages.ts'
import { startPart, type Told } from './part.ts'

export type Workers = Disposable & {
  readonly count: number
  /** to one of them, by its index, or to all */
  say(message: Told, to?: number): void
  /** at once; it is `lost` then */
  kill(index: number): void
  /** when all have said `done` or died */
  readonly ended: Promise<void>
}

type Hear = {
  readonly heard: (from: number, message: FromWorker) => void
  /** one has died before it was done; in words */
  readonly lost: (index: number, why: string) => void
}

type Worker = {
  say(message: Told): void
  readonly ended: Promise<void>
  kill(): void
}

/**
 * MiB. Ten thousand devices want about a tenth of it; a leak, or a target that answers with gigabytes, ends one worker and not the machine.
 */
const HEAP = 1_536

const OPENSSL = '--openssl-config'

/** The same TLS as whoever started us, who may have said it in one word or in two. */
export const inheritedOptions = (options: readonly string[] = process.execArgv): readonly string[] =>
  options.filter((word, at) => word.startsWith(OPENSSL) || options[at - 1] === OPENSSL)

const PROGRAM = join(import.meta.dirname, 'worker-main.ts')

type Beginning = {
  readonly start: WorkerStart
  readonly given: readonly Enrolled[] | undefined
  readonly index: number
}

const forked = ({ start, given, index }: Beginning, { heard, lost }: Hear): Worker => {
  const child: ChildProcess = fork(PROGRAM, [], {
    execArgv: [...inheritedOptions(), `--max-old-space-size=${HEAP}`],
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
  /** Resolves when it is on its way, or cannot be: it may be dying, and its end is told by its exit. */
  const send = (message: ToWorker): Promise<void> =>
    new Promise((resolve) => {
      if (child.connected) child.send(message, () => resolve())
      else resolve()
    })
  const begin = async (): Promise<void> => {
    // one after the other: what was not sent yet would all lie in memory twice
    for (const batch of given === undefined ? [] : givenTo(start.part, given, start.scenario.devices))
      await send(batch)
    await send(start)
  }
  const begun = begin()
  const say = (message: Told): void => void begun.then(() => send(message))
  return { say, ended: ended.promise, kill: () => void child.kill('SIGKILL') }
}

const inProcess = ({ start, given, index }: Beginning, { heard }: Hear): Worker => {
  const part = startPart(start, given, (message) => heard(index, message))
  return {
    say: part.hear,
    ended: part.ended,
    kill: () => part.hear({ kind: 'end' }),
  }
}

/**
 * @param o.count 0: in this process
 * @param o.given by number of the device
 */
export const startWorkers = (
  o: {
    readonly count: number
    readonly startOf: (part: Part) => WorkerStart
    readonly given: readonly Enrolled[] | undefined
  },
  hear: Hear,
): Workers => {
  const { given } = o
  const of = Math.max(1, o.count)
  const begin = o.count === 0 ? inProcess : forked
  const workers = Array.from({ length: of }, (_, index) =>
    begin({ start: o.startOf({ index, of }), given, index }, hear),
  )
  return {
    count: of,
    say(message, to) {
      for (const [index, worker] of workers.entries())
        if (to === undefined || to === index) worker.say(message)
    },
    kill: (index) => workers[index]?.kill(),
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
