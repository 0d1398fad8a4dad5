/**
 * Who holds a ClientID at the broker: one connection at a time, the newest [MQTT-3.1.4-2]. The next one reaches the broker only after the broker
 * has finished with the one before, so takeovers cannot cross; but it does not wait for a link that is stuck. Also where what a broker keeps for
 * a device is ended, before anybody goes on with it. How: ./discard.ts.
 */

import { SECOND } from '#fleet/clock.ts'
import type { Discard } from './discard.ts'

export type Holder = {
  /** The id is yours until you release it. Called at once when it is free. */
  ready(): void
  /** `by` has come with this id: end, then release; or, while still waiting, just end. */
  superseded(by: Holder): void
  /** What the broker keeps must be ended first, and it does not do it: end. */
  unavailable(): void
  /** of its certificate */
  readonly fingerprint: string | undefined
}

export type Holders = {
  claim(clientId: string, holder: Holder): void
  /** Also of a holder that is still waiting. */
  release(clientId: string, holder: Holder): void
  /**
   * Ends what the broker keeps for it: now, or as soon as whoever holds it has gone, and before anyone else gets it.
   * @param done called once, when nothing of it is there any more, which may take as long as the broker is away
   */
  discard(clientId: string, done?: () => void): void
  /** Now and then: what could not be ended is tried again. */
  retry(): void
}

/** ms that the broker may take to be done with a connection that was taken over. More than a link of the embedded one ever does. */
const HANDOVER = 7 * SECOND

/** Discards that are tried again at a time. */
const SLICE = 64

type Entry = {
  /** `broker`: it is being made to forget */
  current: Holder | 'broker'
  waiting: Holder | undefined
  discard: boolean
  late: NodeJS.Timeout | undefined
}

const entryOf = (current: Entry['current'], waiting?: Holder): Entry => ({
  current,
  waiting,
  discard: false,
  late: undefined,
})

export const createHolders = (discard: Discard): Holders => {
  const entries = new Map<string, Entry>()
  /** the broker was asked to end these and did not */
  const undone = new Set<string>()
  const waitingFor = new Map<string, (() => void)[]>()

  const gone = (id: string): void => {
    undone.delete(id)
    const all = waitingFor.get(id) ?? []
    waitingFor.delete(id)
    for (const done of all) done()
  }

  const startDiscard = (id: string, entry: Entry): void => {
    entry.current = 'broker'
    entry.discard = false
    discard(id, (ended) => {
      if (ended) gone(id)
      else {
        undone.add(id)
        const { waiting } = entry
        entry.waiting = undefined
        waiting?.unavailable()
      }
      handOn(id, entry)
    })
  }

  const handOn = (id: string, entry: Entry): void => {
    clearTimeout(entry.late)
    entry.late = undefined
    if (entry.discard) return startDiscard(id, entry)
    const next = entry.waiting
    entry.waiting = undefined
    if (next === undefined) {
      entries.delete(id)
      return
    }
    entry.current = next
    next.ready()
  }

  /** The link of the one before is stuck. What it still says nobody hears; what it still writes the broker takes from the newer one, or refuses. */
  const overdue = (id: string, entry: Entry): void => {
    if (entry.waiting !== undefined) handOn(id, entry)
  }

  const begin = (id: string, waiting?: Holder): void => {
    const entry = entryOf('broker', waiting)
    entries.set(id, entry)
    startDiscard(id, entry)
  }

  return {
    claim: (id, holder) => {
      const entry = entries.get(id)
      if (entry === undefined) {
        if (undone.has(id)) return begin(id, holder)
        entries.set(id, entryOf(holder))
        return holder.ready()
      }
      const passed = entry.waiting
      entry.waiting = holder
      if (passed !== undefined) return passed.superseded(holder)
      if (entry.current === 'broker') return
      clearTimeout(entry.late)
      entry.late = setTimeout(overdue, HANDOVER, id, entry).unref()
      entry.current.superseded(holder)
    },
    release: (id, holder) => {
      const entry = entries.get(id)
      if (entry === undefined) return
      if (entry.waiting === holder) entry.waiting = undefined
      if (entry.current === holder) handOn(id, entry)
    },
    discard: (id, done) => {
      if (done !== undefined) waitingFor.set(id, [...(waitingFor.get(id) ?? []), done])
      const entry = entries.get(id)
      if (entry === undefined) begin(id)
      else if (entry.current !== 'broker') entry.discard = true
    },
    retry: () => {
      let left = SLICE
      for (const id of undone) {
        if (entries.has(id)) continue
        if (left-- === 0) return
        begin(id)
      }
    },
  }
}
