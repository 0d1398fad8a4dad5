/**
 * What aedes takes for the connection of a client: as much of a stream as it asks for, and no more. There is one for each client, idle most of the
 * time; a Duplex of Node would be larger. What is at its other end: ./pipe.ts.
 */

import { EventEmitter } from 'node:events'

/** Bytes waiting for the broker; beyond it the door is told to wait. */
const UNREAD = 64 * 1024

export type OtherEnd = {
  /** aedes has read packets that it has not done with */
  readonly brokerIsBusy: boolean
  /** from aedes. @returns false: wait for `drain` */
  take(bytes: Buffer): boolean
  /** there is room for more from the door */
  brokerRead(): void
  /** aedes has destroyed the connection; it does so more than once */
  brokerDestroyed(): void
}

/**
 * What aedes calls a connection, and as much of a stream as it asks for. `write` takes the crumbs of mqtt-packet, which corks a stream that has
 * `cork` and uncorks it a tick later: gathering makes both superfluous.
 */
export class BrokerEnd extends EventEmitter {
  readonly #pipe: OtherEnd
  destroyed = false
  #unread: Buffer[] = []
  #size = 0
  #ended = false
  #told = false
  #wasRead = false
  /** bytes were given out, and whoever took them may still be at it */
  #reading = false
  #askedAgain = false

  constructor(pipe: OtherEnd) {
    super()
    this.#pipe = pipe
  }

  /** From the door. @returns false: that is enough for now */
  push(bytes: Buffer): boolean {
    this.#unread.push(bytes)
    this.#size += bytes.length
    this.#tell()
    return this.#size < UNREAD
  }

  /** Nothing more comes from the door. */
  pushEnd(): void {
    this.#ended = true
    this.#tell()
  }

  write(chunk: Buffer | string): boolean {
    return this.#pipe.take(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  }

  /**
   * Nothing while what was read last is being parsed: aedes reads on from inside its parser when a packet is done at once, and mqtt-packet's
   * parser, entered twice, skips bytes. It would find packets inside payloads, which nobody has judged.
   */
  read(): Buffer | null {
    if (this.#reading) {
      this.#askedAgain = true
      return null
    }
    const bytes = this.#unread.shift()
    if (bytes === undefined) {
      if (this.#ended) this.#tell()
      return null
    }
    this.#size -= bytes.length
    this.#wasRead = true
    this.#reading = true
    // microtasks wait for the whole of the present call, whoever made it
    queueMicrotask(() => {
      this.#reading = false
      const asked = this.#askedAgain
      this.#askedAgain = false
      // what was read may have been the middle of a packet: then nobody asks for more
      const idle = this.#unread.length > 0 && !this.#pipe.brokerIsBusy
      if ((asked || idle) && !this.destroyed) this.emit('readable')
    })
    if (this.#size < UNREAD) this.#pipe.brokerRead()
    return bytes
  }

  destroy(error?: Error): this {
    if (!this.destroyed) {
      this.destroyed = true
      this.#unread = []
      this.#size = 0
      process.nextTick(() => {
        if (error !== undefined) this.emit('error', error)
        this.emit('close')
      })
    }
    this.#pipe.brokerDestroyed()
    return this
  }

  #tell(): void {
    if (this.#told || this.destroyed) return
    this.#told = true
    process.nextTick(() => {
      this.#told = false
      if (this.destroyed) return
      // aedes counts a 'readable' as one of its packets done: while it is busy it would read ahead of them, and comes back by itself
      if (this.#unread.length > 0) {
        if (!this.#wasRead || !this.#pipe.brokerIsBusy) this.emit('readable')
      } else if (this.#ended) this.emit('end')
    })
  }
}
