/** The embedded broker's retained messages: one for each topic, bounded for each client that publishes them, and for all. */

import type { StoredBroker } from '#registry/broker-store.ts'
import type { Journal } from './journal.ts'
import { alone, fresh, loaded, RETAINED, sizeOf, type Retained } from './stored.ts'
import { createTopicTree } from './topic-tree.ts'

export type RetainedLimits = {
  readonly retained: number
  readonly retainedBytes: number
  readonly retainedPerClient: number
  readonly retainedBytesPerClient: number
}

type Sum = { readonly messages: number; readonly bytes: number }
const NOTHING: Sum = { messages: 0, bytes: 0 }
const plus = (a: Sum, b: Sum): Sum => ({ messages: a.messages + b.messages, bytes: a.bytes + b.bytes })
const minus = (a: Sum, b: Sum): Sum => ({ messages: a.messages - b.messages, bytes: a.bytes - b.bytes })

export type RetainedMessages = {
  /**
   * An empty payload ends what is there [MQTT-3.3.1-10, -11].
   * @param owner who published it
   * @returns whether there is anything new to keep
   */
  keep(topic: string, payload: Buffer, qos: number, owner: string): boolean
  /** Those that the filter matches, one after the other; some may be gone by then. */
  under(filter: string): Iterable<Retained>
  load(stored: StoredBroker): void
}

/** @param dropped a message was not kept; the one before it stays */
export const createRetained = (
  limits: RetainedLimits,
  journal: Journal,
  dropped: () => void,
): RetainedMessages => {
  const tree = createTopicTree<Retained>()
  const byTopic = new Map<string, Retained>()
  const byOwner = new Map<string, Sum>()
  let all = NOTHING

  const sumOf = (owner: string): Sum => byOwner.get(owner) ?? NOTHING
  const setSum = (owner: string, sum: Sum): void => {
    if (sum.messages === 0) byOwner.delete(owner)
    else byOwner.set(owner, sum)
  }

  const forget = (old: Retained): void => {
    const sum = { messages: 1, bytes: sizeOf(old) }
    setSum(old.owner, minus(sumOf(old.owner), sum))
    all = minus(all, sum)
    byTopic.delete(old.topic)
    tree.delete(old.topic, '')
    old.gone = true
    journal.note(RETAINED, old)
  }

  const add = (entry: Retained): void => {
    const sum = { messages: 1, bytes: sizeOf(entry) }
    byTopic.set(entry.topic, entry)
    tree.set(entry.topic, '', entry)
    setSum(entry.owner, plus(sumOf(entry.owner), sum))
    all = plus(all, sum)
  }

  return {
    keep: (topic, payload, qos, owner) => {
      const old = byTopic.get(topic)
      if (payload.length === 0) {
        if (old !== undefined) forget(old)
        return old !== undefined
      }
      const sum = { messages: 1, bytes: sizeOf({ topic, payload }) }
      const room = old === undefined ? NOTHING : { messages: 1, bytes: sizeOf(old) }
      const total = plus(minus(all, room), sum)
      const owned = plus(old?.owner === owner ? minus(sumOf(owner), room) : sumOf(owner), sum)
      if (
        total.messages > limits.retained ||
        total.bytes > limits.retainedBytes ||
        owned.messages > limits.retainedPerClient ||
        owned.bytes > limits.retainedBytesPerClient
      ) {
        dropped()
        return false
      }
      if (old !== undefined) forget(old)
      const entry: Retained = { ...fresh(), topic, payload: alone(payload), qos, owner }
      add(entry)
      journal.note(RETAINED, entry)
      return true
    },
    under: (filter) => tree.under(filter),
    load: (stored) => {
      for (const { topic, payload, qos, owner } of stored.retained)
        add({ ...loaded(), topic, payload, qos, owner })
    },
  }
}
