/** One worker as the gateway sees it: a child that is told what to do, answers or ends. Not when it is started anew: supervisor.ts. */

import { fork, type SendHandle } from 'node:child_process'
import { join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { MetricValues } from '#runtime/metrics.ts'
import { kindOf, type Kind, type Order, type Word } from './messages.ts'

const MAIN = join(import.meta.dirname, 'main.ts')

/** ms until it must be able to serve. */
const START_WITHIN = 30_000
/** ms until it must have handed its socket over. */
const HAND_OVER_WITHIN = 5_000
/** ms until it must say what it has counted; else what it said last counts. */
const VALUES_WITHIN = 1_000
/** ms that a worker which was told to stop has; its own limit is 10 s (#runtime/run.ts). */
const STOP_WITHIN = 12_000

/** The exit code of #runtime/run.ts. */
const CONFIG_INVALID = 2

export type Ready = { readonly url: string; readonly port: number }

export type WorkerProcess = {
  readonly number: number
  readonly pid: number | undefined
  /** resolves with the signal or exit code; never rejects */
  readonly ended: Promise<string | number>
  /** Everything is open but the door. @throws Error: it ended, or was too slow and was ended; FleetError `config_invalid` when it said so */
  standby(): Promise<void>
  /** @param socket listens already; undefined: it binds `port`. @throws as {@link standby} */
  listen(at: { readonly host: string; readonly port: number }, socket: SendHandle | undefined): Promise<Ready>
  /** Its listening socket, on which it goes on to serve. undefined: it has ended, or hangs. */
  handOver(): Promise<SendHandle | undefined>
  /** asks, unless it is known that there will be no answer */
  values(): Promise<MetricValues>
  /** takes nobody new, and ends when the last request has */
  retire(): void
  /** ends within seconds */
  stop(): void
}

/** @param number from 1 */
export const startWorker = (number: number, workers: number): WorkerProcess => {
  // as a parent stops its children: by the channel's end, which our own death is too (docs/decisions/0004-stopping.md)
  const child = fork(MAIN, process.argv.slice(2), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const over = Promise.withResolvers<string | number>()
  const { promise: ended } = over
  let how: string | number | undefined
  const end = (its: string | number): void => {
    how ??= its
    over.resolve(its)
  }
  child.on('exit', (code, signal) => {
    end(signal ?? code ?? 'nothing')
  })
  child.on('error', (error) => {
    // it could not be started at all
    if (child.pid === undefined) end(error.message)
  })

  let counted: MetricValues = []
  child.on('message', (message) => {
    const kind = kindOf(message)
    if (kind === 'values' || kind === 'drained') counted = (message as Kind<Word, 'values'>).values
    if (kind === 'drained') stop()
  })

  const tell = (order: Order, socket?: SendHandle): void => {
    if (child.connected) child.send(order, socket, {}, () => {})
  }

  /** @returns undefined: it ended, or took longer */
  const wordOf = async <K extends Word['kind']>(
    kind: K,
    within: number,
  ): Promise<{ readonly word: Kind<Word, K>; readonly socket: SendHandle | undefined } | undefined> => {
    const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof wordOf<K>>>>()
    const onMessage = (message: unknown, socket?: SendHandle): void => {
      if (kindOf(message) === kind) resolve({ word: message as Kind<Word, K>, socket })
    }
    child.on('message', onMessage)
    const timer = setTimeout(resolve, within, undefined)
    void ended.then(() => resolve(undefined))
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      child.off('message', onMessage)
    }
  }

  const mustSay = async <K extends Word['kind']>(kind: K): Promise<Kind<Word, K>> => {
    const said = await wordOf(kind, START_WITHIN)
    if (said !== undefined) return said.word
    child.kill('SIGKILL')
    const what = how === undefined ? `was not ready within ${START_WITHIN} ms` : `ended with ${how}`
    const text = `worker ${number} ${what}: its own lines say why`
    throw how === CONFIG_INVALID ? new FleetError('config_invalid', text) : new Error(text)
  }

  const stop = (): void => {
    if (child.connected) child.disconnect()
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN)
    void ended.then(() => {
      clearTimeout(timer)
    })
  }

  tell({ kind: 'assignment', worker: number, workers })
  const isStandby = mustSay('standby').then(() => {})
  isStandby.catch(() => {})
  return {
    number,
    pid: child.pid,
    ended,
    standby: () => isStandby,
    listen: async (at, socket) => {
      const ready = mustSay('ready')
      tell({ kind: 'listen', ...at }, socket)
      const { url, port } = await ready
      return { url, port }
    },
    handOver: async () => {
      if (how !== undefined) return undefined
      const handed = wordOf('handed', HAND_OVER_WITHIN)
      tell({ kind: 'hand_over' })
      return (await handed)?.socket
    },
    values: async () => {
      if (child.connected) {
        const values = wordOf('values', VALUES_WITHIN)
        tell({ kind: 'values' })
        await values
      }
      return counted
    },
    retire: () => {
      tell({ kind: 'drain' })
    },
    stop,
  }
}
