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
  /** What the broker keeps for it must be ended: end. */
  unavailable(): void
  /** of its certificate */
  readonly fingerprint: string | undefined
  /** when it came: ms, rising with the time that passes (performance.now()) */
  readonly arrivedAt: number
}

export type Holders = {
  claim(clientId: string, holder: Holder): void
  /** Has somebody of this process got it, or asked for it? */
  isHeld(clientId: string): boolean
  /** Also of a holder that is still waiting. */
  release(clientId: string, holder: Holder): void
  /**
   * Ends what the broker keeps for it: now, or as soon as whoever holds it has gone, and before anyone else gets it. Who does not go by itself within
   * {@link LEAVES_WITHIN} is told to: a session is not lost at some later moment, with what has come meanwhile.
   * @param done called once, when nothing of it is there any more, which may take as long as the broker is away
   */
  discard(clientId: string, done?: () => void): void
  /**
   * Now and then: of what could not be ended one is tried again. When the broker has ended one, whoever asked for it, the others follow at once.
   */
  retry(): void
}

/** ms that the broker may take to be done with a connection that was taken over. More than a link of the embedded one ever does. */
const HANDOVER = 7 * SECOND

/** ms in which one whose device was cut has gone by itself */
export const LEAVES_WITHIN = 2 * SECOND

/** Discards that are tried again at a time. */
const SLICE = 64

type Entry = {
  /** `broker`: it is being made to forget */
  current: Holder | 'broker'
  waiting: Holder | undefined
  discard: boolean
  late: NodeJS.Timeout | undefined
  /** until whoever holds it is told to go */
  leaving: NodeJS.Timeout | undefined
}

const entryOf = (current: Entry['current'], waiting?: Holder): Entry => ({
  current,
  waiting,
  discard: false,
  late: undefined,
  leaving: undefined,
})

export const createHolders = (discard: Discard): Holders => {
  const entries = new Map<string, Entry>()
  /** the broker was asked to end these and did not */
  const undone = new Set<string>()
  /** of those that are tried again, under way */
  const retried = new Set<string>()
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
      retried.delete(id)
      if (ended) gone(id)
      else {
        // the last to be tried again: one that is refused for ever is in nobody's way
        undone.delete(id)
        undone.add(id)
        const { waiting } = entry
        entry.waiting = undefined
        waiting?.unavailable()
      }
      handOn(id, entry)
      if (ended) retryUpTo(SLICE)
    })
  }

  const handOn = (id: string, entry: Entry): void => {
    clearTimeout(entry.late)
    clearTimeout(entry.leaving)
    entry.late = undefined
    entry.leaving = undefined
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

  /** @param most under way at a time */
  const retryUpTo = (most: number): void => {
    // who fails goes to the end
    let left = undone.size
    for (const id of undone) {
      if (retried.size >= most || left-- === 0) return
      if (entries.has(id)) continue
      retried.add(id)
      begin(id)
    }
  }

  const tellToLeave = (entry: Entry): void => {
    if (entry.current !== 'broker') entry.current.unavailable()
  }

  return {
    isHeld: (id) => entries.has(id),
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
      else if (entry.current !== 'broker') {
        entry.discard = true
        entry.leaving ??= setTimeout(tellToLeave, LEAVES_WITHIN, entry).unref()
      }
    },
    retry: () => retryUpTo(1),
  }
}
