/**
 * The broker's end of the thread that writes its file: started when it is first needed, and again when it has died. Not what the thread does:
 * thread.ts; and not when a batch that was not written is tried again: that is the broker's.
 */

import { Worker } from 'node:worker_threads'
import type { FleetError } from '#fleet/errors.ts'
import { unavailable } from '../sqlite/failures.ts'
import type { Batch } from './store.ts'
import type { Answer, Question, ThreadData } from './thread.ts'

/** ms for the thread to finish when all is over. */
const LAST_WORDS = 5_000

export type Writer = {
  /** One at a time. @throws FleetError `registry_unavailable`: it was not written, or the thread has died and it may have been */
  commit(batch: Batch): Promise<void>
  /** What is under way is written first. */
  end(): Promise<void>
}

type Asked = { readonly number: number; readonly answered: PromiseWithResolvers<void> }

export const startThread = (path: string): Worker =>
  new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: { path } satisfies ThreadData,
    name: 'broker-store',
  })

/** @param start the thread */
export const createWriter = (start: () => Worker): Writer => {
  let worker: Worker | undefined
  let asked: Asked | undefined
  let count = 0

  const settle = (failure: FleetError | undefined): void => {
    const waiting = asked?.answered
    asked = undefined
    worker?.unref()
    if (failure === undefined) waiting?.resolve()
    else waiting?.reject(failure)
  }

  const begin = (): Worker => {
    const started = start()
    let cause: unknown
    started.on('message', ({ number, error }: Answer) => {
      // of another batch, or of a thread that is not asked any more: it says nothing of this one
      if (worker !== started || number !== asked?.number) return
      settle(error === undefined ? undefined : unavailable("the broker's store cannot be written", error))
    })
    started.on('error', (error: unknown) => {
      cause = error
    })
    // and not before: as long as it lives it may still write, over what the next one has written
    started.on('exit', () => {
      if (worker !== started) return
      worker = undefined
      settle(unavailable("the thread of the broker's store has ended", cause))
    })
    return started
  }

  return {
    commit: (batch) => {
      worker ??= begin()
      asked = { number: ++count, answered: Promise.withResolvers() }
      const { promise } = asked.answered
      // it keeps a process alive that has nothing else to do, but only while it works
      worker.ref()
      worker.postMessage({ number: count, batch } satisfies Question)
      return promise
    },
    end: async () => {
      const last = worker
      if (last === undefined) return
      const exited = new Promise<void>((resolve) => void last.once('exit', () => resolve()))
      last.ref()
      last.postMessage('close' satisfies Question)
      const late = setTimeout(() => void last.terminate(), LAST_WORDS)
      await exited
      clearTimeout(late)
    },
  }
}
