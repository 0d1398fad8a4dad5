/** What is to be done at given times, with one timer for all of it. Not a wait of one device: that is ../waiting.ts. */

import { HOUR, type Clock } from '#fleet/clock.ts'

export type Agenda = Disposable & {
  /** @param at ms since the epoch; what is past is done at the next turn of the event loop. `act` must not throw */
  add(at: number, act: () => void): void
}

/** ms; a longer timer would overflow and fire at once */
const LONGEST = HOUR

/** Nothing happens once it is disposed. */
export const createAgenda = (clock: Clock): Agenda => {
  /** latest first */
  const entries: { readonly at: number; readonly act: () => void }[] = []
  let timer: NodeJS.Timeout | undefined
  let open = true

  const arm = (): void => {
    clearTimeout(timer)
    const next = entries.at(-1)
    if (next === undefined || !open) return
    timer = setTimeout(work, Math.min(Math.max(0, next.at - clock()), LONGEST))
  }
  const work = (): void => {
    while ((entries.at(-1)?.at ?? Infinity) <= clock()) entries.pop()?.act()
    arm()
  }
  return {
    add(at, act) {
      const before = entries.findLastIndex((entry) => entry.at > at)
      entries.splice(before + 1, 0, { at, act })
      arm()
    },
    [Symbol.dispose]() {
      open = false
      clearTimeout(timer)
    },
  }
}
