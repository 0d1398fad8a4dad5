/** Waiting, so that it can be ended early: pauses that a signal cuts short, and a gate that lets only so many through at once. */

/** Ends after `ms`, or as soon as one of the signals has fired. Never rejects: who waits looks at its signals anyway. */
export const pause = (ms: number, ...signals: readonly AbortSignal[]): Promise<void> =>
  new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      for (const signal of signals) signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    for (const signal of signals) signal.addEventListener('abort', end)
    if (signals.some((signal) => signal.aborted)) end()
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
