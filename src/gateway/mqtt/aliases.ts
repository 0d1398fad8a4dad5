/**
 * Topic aliases of one MQTT 5 client (§3.3.2.3.4). They end at the door: the broker gets whole topics. An alias is a name and no permission; its
 * topic is judged each time it is used.
 */

import { MAX_TOPIC_BYTES } from '#wire/topics.ts'

/** Bytes of the topics of one connection. */
const MOST_BYTES = 1024 ** 2

export class TopicAliases {
  readonly #maximum: number
  #topics: Map<number, Buffer> | undefined
  #bytes = 0

  /** @param maximum as the client was told */
  constructor(maximum: number) {
    this.#maximum = maximum
  }

  /** @param alias from 1. @returns the topic; undefined: nobody has said */
  topic(alias: number): Buffer | undefined {
    return this.#topics?.get(alias)
  }

  /** From here on `alias` is the topic in `bytes[from..until)`. @returns false: too high, or more than can be kept */
  set(alias: number, bytes: Buffer, from: number, until: number): boolean {
    if (alias > this.#maximum || until - from > MAX_TOPIC_BYTES) return false
    this.#topics ??= new Map()
    const before = this.#topics.get(alias)
    // most say the same again, to be on the safe side
    if (before?.length === until - from && bytes.compare(before, 0, before.length, from, until) === 0)
      return true
    const total = this.#bytes - (before?.length ?? 0) + (until - from)
    if (total > MOST_BYTES) return false
    this.#bytes = total
    // copied: what it stands in is not ours to keep
    this.#topics.set(alias, Buffer.from(bytes.subarray(from, until)))
    return true
  }
}
