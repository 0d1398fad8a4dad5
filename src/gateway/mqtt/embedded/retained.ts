/** The embedded broker's retained messages: one for each topic, bounded for each client that publishes them, and for all. In memory. */

import { Readable } from 'node:stream'
import { compact, sizeOf, type BrokerPacket } from './stored.ts'
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

const ownerOf = (packet: BrokerPacket): string => packet.clientId ?? ''

/** @param dropped a message was not kept; the one before it stays */
export const createRetained = (limits: RetainedLimits, dropped: () => void) => {
  const tree = createTopicTree<BrokerPacket>()
  const byTopic = new Map<string, BrokerPacket>()
  const byOwner = new Map<string, Sum>()
  let all = NOTHING

  const sumOf = (owner: string): Sum => byOwner.get(owner) ?? NOTHING
  const setSum = (owner: string, sum: Sum): void => {
    if (sum.messages === 0) byOwner.delete(owner)
    else byOwner.set(owner, sum)
  }

  const forget = (old: BrokerPacket): void => {
    const sum = { messages: 1, bytes: sizeOf(old) }
    setSum(ownerOf(old), minus(sumOf(ownerOf(old)), sum))
    all = minus(all, sum)
    byTopic.delete(old.topic)
    tree.delete(old.topic, '')
  }

  return {
    storeRetained: async (packet: BrokerPacket): Promise<void> => {
      const { topic } = packet
      const owner = ownerOf(packet)
      const old = byTopic.get(topic)
      // [MQTT-3.3.1-10, -11]
      if (packet.payload.length === 0) return old === undefined ? undefined : forget(old)
      const sum = { messages: 1, bytes: sizeOf(packet) }
      const room = old === undefined ? NOTHING : { messages: 1, bytes: sizeOf(old) }
      const total = plus(minus(all, room), sum)
      const owns = sumOf(owner)
      const owned = plus(old !== undefined && ownerOf(old) === owner ? minus(owns, room) : owns, sum)
      if (
        total.messages > limits.retained ||
        total.bytes > limits.retainedBytes ||
        owned.messages > limits.retainedPerClient ||
        owned.bytes > limits.retainedBytesPerClient
      )
        return dropped()
      if (old !== undefined) forget(old)
      const kept = compact(packet)
      byTopic.set(topic, kept)
      tree.set(topic, '', kept)
      setSum(owner, owned)
      all = total
    },
    createRetainedStreamCombi: (filters: readonly string[]): Readable => {
      const found: BrokerPacket[] = []
      for (const filter of filters) tree.under(filter, (packet) => found.push(packet))
      return Readable.from(found)
    },
  }
}
