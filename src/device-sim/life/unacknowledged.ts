/**
 * The publications of one device that no PUBACK has come for, so that they can be sent again on the next connection of a session that stays, in their
 * order and with their packet identifiers (MQTT 3.1.1 and 5, 4.4). Of a message its number and time are enough: it can be made again.
 */

export type Unacknowledged = {
  readonly seq: number
  /** when it was due, or begun, and what the message says; ms since the epoch */
  readonly at: number
  /** it is to be heard again */
  readonly awaited: boolean
  /** packet identifier; undefined: it is not to be sent again */
  readonly id: number | undefined
}

export type UnacknowledgedSet = {
  /** Gives it an identifier that no other has. No more than 65,535; a process has 2,000 turns under way. */
  remember(one: Omit<Unacknowledged, 'id'>): Unacknowledged
  forget(one: Unacknowledged): void
  /** in their order */
  all(): readonly Unacknowledged[]
}

const HIGHEST_ID = 0xffff

export const createUnacknowledged = (): UnacknowledgedSet => {
  /** by identifier, in their order */
  const open = new Map<number, Unacknowledged>()
  let last = 0

  const freeId = (): number => {
    do last = (last % HIGHEST_ID) + 1
    while (open.has(last))
    return last
  }
  return {
    remember(one) {
      const kept = { ...one, id: freeId() }
      open.set(kept.id, kept)
      return kept
    },
    forget({ id }) {
      if (id !== undefined) open.delete(id)
    },
    all: () => [...open.values()],
  }
}
