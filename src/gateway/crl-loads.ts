/**
 * When the CRLs of foreign anchors are loaded: at the start, when the registry has other ones, and when one ends, since what was judged by it has
 * to be judged again. Reading a large one takes a while, so that loads overlap: the last one counts. Not the reading: #trust/crls.ts.
 */

import { DAY, SECOND, type Clock } from '#fleet/clock.ts'
import type { KeptCrl } from '#trust/crls.ts'

/** ms until a load that failed is tried again. Nothing is judged by a registry that cannot be read meanwhile. */
const RETRY = SECOND

export type CrlLoads = Disposable & {
  /** For the start. @throws what `read` throws */
  load(): Promise<void>
  /** The registry has other ones: not waited for, tried again until it succeeds. Never throws. */
  reload(): void
}

/**
 * @param o.read what the registry says now
 * @param o.set #gateway/anchors.ts setCrls
 * @param o.changed remembered verdicts are void
 */
export const createCrlLoads = (o: {
  readonly read: () => Promise<readonly KeptCrl[]>
  readonly set: (records: readonly KeptCrl[]) => Promise<number>
  readonly changed: () => void
  readonly failed: (err: unknown) => void
  readonly clock: Clock
}): CrlLoads => {
  let calls = 0
  let timer: NodeJS.Timeout | undefined

  const arm = (wait: number): void => {
    clearTimeout(timer)
    timer = setTimeout(reload, wait).unref()
  }
  const load = async (): Promise<void> => {
    calls += 1
    const call = calls
    clearTimeout(timer)
    const records = await o.read()
    // whoever came later has read no less
    if (call !== calls) return
    const end = await o.set(records)
    o.changed()
    if (call === calls && end !== Infinity) arm(Math.min(end - o.clock(), DAY))
  }
  const reload = (): void => {
    const call = calls + 1
    load().catch((err: unknown) => {
      o.failed(err)
      if (call === calls) arm(RETRY)
    })
  }

  return {
    load,
    reload,
    [Symbol.dispose]: () => {
      // an answer that is still to come arms nothing
      calls += 1
      clearTimeout(timer)
    },
  }
}
