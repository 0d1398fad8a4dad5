/** Work that must not overlap: one at a time, in the order asked. Not a queue with a bound: callers have one each. */

export type Serially = <T>(work: () => Promise<T>) => Promise<T>

/** A failed one does not stop the next. */
export const createSerially = (): Serially => {
  let tail: Promise<unknown> = Promise.resolve()
  return (work) => {
    const run = tail.then(work)
    tail = run.catch(() => undefined)
    return run
  }
}
