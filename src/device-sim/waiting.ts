/** Waiting, so that it can be ended early: pauses that a signal cuts short, and a gate that lets only so many through at once. */

import { onAbort } from './on-abort.ts'

/** Ends after `ms`, or as soon as one of the signals has fired. Never rejects: who waits looks at its signals anyway. */
export const pause = (ms: number, ...signals: readonly (AbortSignal | undefined)[]): Promise<void> =>
  new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      for (const back of unheard) back?.()
      resolve()
    }
    // Node warns of a time that has passed
    const timer = setTimeout(end, Math.max(0, ms))
    const unheard = signals.map((signal) => signal && onAbort(signal, end))
    if (signals.some((signal) => signal?.aborted)) end()
  })

/** At most `width` at a time; the others wait in order. */
export const createGate = (width: number): (<T>(work: () => Promise<T>) => Promise<T>) => {
  let free = width
  const queue: (() => void)[] = []
  return async (work) => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => queue.push(resolve))
    try {
      return await work()
    } finally {
      const next = queue.shift()
      if (next === undefined) free++
      else next()
    }
  }
}

/** Resolves when the first of them fires, and leaves nothing on the others. */
export const firstOf = (...signals: readonly AbortSignal[]): Promise<void> =>
  new Promise((resolve) => {
    const end = (): void => {
      for (const back of unheard) back()
      resolve()
    }
    const unheard = signals.map((signal) => onAbort(signal, end))
    if (signals.some((signal) => signal.aborted)) end()
  })
