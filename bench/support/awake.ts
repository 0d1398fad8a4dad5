/**
 * Keeps the core of a load awake while it works. A core that sleeps is woken by whoever sends to it, with an interrupt that leaves a virtual machine for some
 * µs: a slow server would pay for it at each answer, a fast one never, and a client on another machine costs neither of them anything. Not a load.
 */

/** @returns what `work` gives */
export const awake = async <T>(work: () => Promise<T>): Promise<T> => {
  let isWorking = true
  const look = (): void => {
    if (isWorking) setImmediate(look)
  }
  look()
  try {
    return await work()
  } finally {
    isWorking = false
  }
}
