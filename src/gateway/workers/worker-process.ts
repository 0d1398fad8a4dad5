/**
 * One worker as the gateway sees it: a child that is told what to do, answers or ends, and is ended when it does neither: one that hangs still
 * listens, and the kernel gives it its share of the connections. Not when it is started anew: supervisor.ts. Not the channel: channel.ts.
 */

import { fork, type SendHandle } from 'node:child_process'
import { join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { MetricValues } from '#runtime/metrics.ts'
import type { EndedHolder } from '../sessions/ended-holders.ts'
import { openChannel, type Child } from './channel.ts'
import type { Kind, Word } from './messages.ts'
import { createNews } from './news.ts'
import type { Times } from './times.ts'

const MAIN = join(import.meta.dirname, 'main.ts')

/** The exit code of #runtime/run.ts. */
const CONFIG_INVALID = 2

export type Ready = { readonly url: string; readonly port: number }

export type WorkerProcess = {
  readonly pid: number | undefined
  /** resolves with the signal or exit code, and why we ended it; never rejects */
  readonly ended: Promise<string | number>
  /** Everything is open but the door. @throws Error: it ended, or was too slow and was ended; FleetError `config_invalid` when it said so */
  standby(): Promise<void>
  /** @param socket listens already; undefined: it binds `port`. @throws as {@link standby} */
  listen(at: { readonly host: string; readonly port: number }, socket: SendHandle | undefined): Promise<Ready>
  /**
   * Its listening socket, on which it goes on to serve. undefined: it has none, or has ended, or was too slow and was ended, so that
   * nobody else's socket stands beside one on which nobody accepts.
   */
  handOver(): Promise<SendHandle | undefined>
  /** false: it has not answered for a beat */
  isAnswering(): boolean
  /** asks, unless it is known that there will be no answer */
  values(): Promise<MetricValues>
  /** Logouts that others have had. Only after {@link standby}. Resolves when it has heard, has ended or was too slow; never rejects. */
  tellLogouts(ended: readonly EndedHolder[]): Promise<void>
  /** takes nobody new, and ends when the last request has, or is ended */
  retire(): void
  /** ends within seconds, or is ended */
  stop(): void
}

/** A worker has a logout: resolves when the others have heard of it, as far as they can; never rejects. */
export type OnLogout = (ended: EndedHolder) => Promise<void>

export const startWorker = (
  number: number,
  workers: number,
  times: Times,
  onLogout: OnLogout,
): WorkerProcess =>
  // as a parent stops its children: by the channel's end, which our own death is too (docs/decisions/0004-stopping.md)
  workerOf(
    fork(MAIN, process.argv.slice(2), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
    number,
    workers,
    times,
    onLogout,
  )

/** @param number from 1 */
export const workerOf = (
  child: Child,
  number: number,
  workers: number,
  times: Times,
  onLogout: OnLogout,
): WorkerProcess => {
  const over = Promise.withResolvers<string | number>()
  const { promise: ended } = over
  let how: string | number | undefined
  let missed = 0
  let beat: NodeJS.Timeout | undefined
  let limit: NodeJS.Timeout | undefined
  let counted: MetricValues = []

  const calm = (): void => {
    clearInterval(beat)
    clearTimeout(limit)
  }
  let reason: string | undefined
  const kill = (why: string): void => {
    if (how !== undefined) return
    calm()
    reason ??= why
    child.kill('SIGKILL')
  }
  const killAfter = (ms: number, why: string): void => {
    calm()
    limit = setTimeout(kill, ms, why)
  }
  const end = (its: string | number): void => {
    if (how !== undefined) return
    calm()
    how = reason === undefined ? its : `${its}: ${reason}`
    over.resolve(how)
  }
  child.on('exit', (code: number | null, signal: NodeJS.Signals | null) => {
    end(signal ?? code ?? 'nothing')
  })
  child.on('error', (error: Error) => {
    // it could not be started at all
    if (child.pid === undefined) end(error.message)
  })

  const stop = (): void => {
    if (child.connected) child.disconnect()
    killAfter(times.stop, `did not stop within ${times.stop} ms`)
  }
  const channel = openChannel(child, ended, (word) => {
    missed = 0
    if (word.kind === 'values' || word.kind === 'drained') counted = word.values
    if (word.kind === 'drained') stop()
    if (word.kind === 'logout') void answerLogout(word)
  })

  const answerLogout = async ({ nth, holder, at }: Kind<Word, 'logout'>): Promise<void> => {
    await onLogout({ holder, at })
    channel.tell({ kind: 'known', nth })
  }
  let told = 0
  const tellLogouts = createNews(async (logouts) => {
    if (!child.connected) return
    const nth = (told += 1)
    const heard = channel.next('heard', times.heard)
    channel.tell({ kind: 'logouts', nth, ended: logouts })
    let said = await heard
    // a late one may be of a message before
    while (said !== undefined && said.word.nth !== nth) said = await channel.next('heard', times.heard)
  })

  const mustSay = async <K extends Word['kind']>(kind: K): Promise<Kind<Word, K>> => {
    const said = await channel.next(kind, times.start)
    if (said !== undefined) return said.word
    const what = how === undefined ? `was not ready within ${times.start} ms` : `ended with ${how}`
    kill(what)
    const text = `worker ${number} ${what}: its own lines say why`
    throw how === CONFIG_INVALID ? new FleetError('config_invalid', text) : new Error(text)
  }

  /** Counted, not timed: when it was we who stood still, the answers are there already, and one question too many does no harm. */
  const onBeat = (): void => {
    if (missed === times.beats) {
      kill(`did not answer for ${times.beats * times.beat} ms`)
      return
    }
    missed += 1
    channel.tell({ kind: 'values' })
  }

  channel.tell({ kind: 'assignment', worker: number, workers })
  const isStandby = mustSay('standby').then(() => {})
  isStandby.catch(() => {})
  return {
    pid: child.pid,
    ended,
    standby: () => isStandby,
    listen: async (at, socket) => {
      const ready = mustSay('ready')
      channel.tell({ kind: 'listen', ...at }, socket)
      const { url, port } = await ready
      // it may have ended since it said so
      if (how === undefined) beat = setInterval(onBeat, times.beat)
      return { url, port }
    },
    handOver: async () => {
      if (how !== undefined) return undefined
      const handed = channel.next('handed', times.handOver)
      channel.tell({ kind: 'hand_over' })
      const said = await handed
      if (said === undefined) {
        kill(`did not hand its socket over within ${times.handOver} ms`)
        await ended
      }
      return said?.socket
    },
    isAnswering: () => missed < 2,
    values: async () => {
      if (child.connected && missed < 2) {
        const values = channel.next('values', times.values)
        channel.tell({ kind: 'values' })
        await values
      }
      return counted
    },
    tellLogouts,
    retire: () => {
      // asked to stop already: that is sooner
      if (!child.connected) return
      channel.tell({ kind: 'drain', within: times.retire })
      killAfter(times.retire + times.retired, `had not ended ${times.retired} ms after its last request`)
    },
    stop,
  }
}
