/**
 * How many messages that came over HTTPS may wait for the broker, in all and of one device. It counts; in which order they go is publisher.ts.
 */

import type { Message } from './publisher-message.ts'

/** Messages that wait for the broker, and their bytes; and the part of them that one device may have, with what the broker has not acknowledged. */
const MOST_WAITING = 1_024
const MOST_WAITING_BYTES = 16 * 1_024 * 1_024
const PART = 8
export type Queued = {
  readonly device: string
  /** octets of the payload */
  readonly size: number
  /** undefined: the broker has been told */
  message: Message | undefined
}

type Weight = { messages: number; bytes: number }
/** One that is larger than a part, or than all of it, has its turn when nothing is before it. */
const hasRoom = ({ messages, bytes }: Weight, size: number, part: number): boolean =>
  messages < MOST_WAITING / part && (bytes === 0 || bytes + size <= MOST_WAITING_BYTES / part)

/** How much waits, of all and of each device. What has been said has no bytes any more, and counts as a message of its device until it leaves. */
export const createQueue = () => {
  const all: Weight = { messages: 0, bytes: 0 }
  const byDevice = new Map<string, Weight>()
  const said = (entry: Queued): void => {
    if (entry.message === undefined) return
    entry.message = undefined
    all.messages -= 1
    for (const weight of [all, byDevice.get(entry.device)])
      if (weight !== undefined) weight.bytes -= entry.size
  }
  return {
    /** @returns false: there is no room for it now */
    enter: ({ device, size }: Queued): boolean => {
      const its = byDevice.get(device) ?? { messages: 0, bytes: 0 }
      if (!hasRoom(all, size, 1) || !hasRoom(its, size, PART)) return false
      for (const weight of [all, its]) {
        weight.messages += 1
        weight.bytes += size
      }
      byDevice.set(device, its)
      return true
    },
    said,
    leave: (entry: Queued): void => {
      said(entry)
      const its = byDevice.get(entry.device)
      if (its !== undefined && (its.messages -= 1) === 0) byDevice.delete(entry.device)
    },
  }
}
