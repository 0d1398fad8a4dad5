/**
 * Who holds a ClientID: one connection at a time, the newest [MQTT-3.1.4-2]. The next one reaches the broker only after the broker has
 * finished with the one before, so takeovers cannot cross. Also where a device's session at the broker is ended.
 */

import { makeCleanConnect } from './connect-packet.ts'
import { DISCONNECT, TYPE } from './packets.ts'
import type { Upstream } from './upstream.ts'

export type Holder = {
  /** The id is yours until you release it. Called at once when it is free. */
  ready(): void
  /** Another connection has come with this id: end, then release; or, while still waiting, just end. */
  superseded(): void
}

export type Holders = {
  claim(id: string, holder: Holder): void
  /** Also of a holder that is still waiting. `discard`: end the session at the broker before anyone else gets the id. */
  release(id: string, holder: Holder, discard: boolean): void
  /** Ends the session of a device: now, or as soon as whoever holds its id has gone. */
  discard(id: string): void
}

/** How long a broker may take to forget a session before the next holder goes ahead. */
const DISCARD_TIMEOUT = 5_000

/** CONNECT with a clean session and DISCONNECT, as MQTT knows it: true of every broker. */
const forget = (upstream: Upstream, id: string, done: () => void): void => {
  const link = upstream.open({
    data: (bytes) => {
      if ((bytes[0] as number) >> 4 !== TYPE.connack) return
      link.write(DISCONNECT)
      link.end('finish')
    },
    drain: () => {},
    closed: () => {
      clearTimeout(late)
      done()
    },
  })
  const late = setTimeout(() => link.end('drop'), DISCARD_TIMEOUT)
  link.write(makeCleanConnect(id))
}

type Entry = { current: Holder | 'discard'; waiting: Holder | undefined; discard: boolean }

export const createHolders = (upstream: Upstream): Holders => {
  const entries = new Map<string, Entry>()

  const startDiscard = (id: string, entry: Entry): void => {
    entry.current = 'discard'
    entry.discard = false
    forget(upstream, id, () => handOn(id, entry))
  }

  const handOn = (id: string, entry: Entry): void => {
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

  return {
    claim: (id, holder) => {
      const entry = entries.get(id)
      if (entry === undefined) {
        entries.set(id, { current: holder, waiting: undefined, discard: false })
        holder.ready()
        return
      }
      const passed = entry.waiting
      entry.waiting = holder
      passed?.superseded()
      // not again for one that has been told: it is on its way out
      if (passed === undefined && entry.current !== 'discard') entry.current.superseded()
    },
    release: (id, holder, discard) => {
      const entry = entries.get(id)
      if (entry === undefined) return
      if (discard) entry.discard = true
      if (entry.waiting === holder) entry.waiting = undefined
      if (entry.current === holder) handOn(id, entry)
    },
    discard: (id) => {
      const held = entries.get(id)
      if (held !== undefined) {
        if (held.current !== 'discard') held.discard = true
        return
      }
      const entry: Entry = { current: 'discard', waiting: undefined, discard: false }
      entries.set(id, entry)
      startDiscard(id, entry)
    },
  }
}
