/**
 * One client's way to the embedded broker, without a socket: the stream that aedes reads and writes, and the {@link Link} that the door
 * holds. Gathers what aedes writes in crumbs, and keeps a slow client from holding up whoever publishes to it.
 */

import { Duplex } from 'node:stream'
import type { Link, LinkEvents } from '../upstream.ts'

/** Bytes waiting for the client; beyond it the broker is told to wait. And as much is said to the door in one turn, about. */
const HIGH_WATER = 256 * 1024

/** Crumbs of a few bytes that may lie about: as objects they take twenty times what is in them. */
const CRUMBS = 1_024

/** ms that a client may make its publishers wait, once. After that it is slow, for good: it loses QoS 0, and nobody waits for it. */
const GRACE = 200

/** ms for the broker to read what was written before an end. */
const LINGER = 5_000

export type PipeLimits = {
  /** Waiting for a slow client; beyond it the connection ends, and what is queued waits for the next one. */
  readonly backlog: number
}

/** What aedes calls a connection. `write` takes the crumbs of mqtt-packet; nothing waits for a callback. */
class BrokerEnd extends Duplex {
  readonly #pipe: { take(bytes: Buffer): boolean; room(): void; destroyed(): void }
  /** bytes were given out, and whoever took them may still be at it */
  #reading = false
  #askedAgain = false

  constructor(pipe: { take(bytes: Buffer): boolean; room(): void; destroyed(): void }) {
    super({ readableHighWaterMark: HIGH_WATER / 4, emitClose: true, autoDestroy: false })
    this.#pipe = pipe
    // mqtt-packet corks each packet and uncorks it on the next tick, if there is a cork: gathering here makes both superfluous
    Object.defineProperty(this, 'cork', { value: undefined })
  }

  override write(chunk: Buffer | string): boolean {
    return this.#pipe.take(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  }

  override _read(): void {
    this.#pipe.room()
  }

  /**
   * Nothing while what was read last is being parsed: aedes reads on from inside its parser when a packet is done at once, and mqtt-packet's
   * parser, entered twice, skips bytes. It would find packets inside payloads, which nobody has judged.
   */
  override read(size?: number): Buffer | null {
    if (this.#reading) {
      this.#askedAgain = true
      return null
    }
    const bytes = super.read(size) as Buffer | null
    if (bytes === null) return null
    this.#reading = true
    // microtasks wait for the whole of the present call, whoever made it
    queueMicrotask(() => {
      this.#reading = false
      const asked = this.#askedAgain
      this.#askedAgain = false
      if (asked && !this.destroyed) this.emit('readable')
    })
    return bytes
  }

  override destroy(error?: Error): this {
    super.destroy(error)
    this.#pipe.destroyed()
    return this
  }
}

/** What of an aedes client says that it has ended and been forgotten. */
export type BrokerClient = {
  readonly closed: boolean
  readonly connected: boolean
  readonly connecting: boolean
  close(done?: () => void): void
}

export type Pipe = Link & {
  readonly conn: Duplex
  /** The broker's client on the other end; before the first write. */
  attach(client: BrokerClient): void
  /** QoS 0 is not for it now. */
  readonly slow: boolean
  /** the will must not be published, whatever aedes thinks */
  readonly willVoid: boolean
  /** Resolves when the client can take more; undefined: now. */
  pace(): Promise<void> | undefined
}

export const createPipe = (
  events: LinkEvents,
  limits: PipeLimits,
  /** runs once, soon, after everything else of this turn */
  later: (flush: () => void) => void,
): Pipe => {
  let client: BrokerClient | undefined
  let crumbs: Buffer[] = []
  /** older than the crumbs */
  let pieces: Buffer[] = []
  let waiting = 0
  let scheduled = false
  let paused = false
  let brokerWaits = false
  let doorWaits = false
  let hadGrace = false
  let slow = false
  let willVoid = false
  let ended = false
  let gone = false
  let grace: NodeJS.Timeout | undefined
  let linger: NodeJS.Timeout | undefined
  let paced: PromiseWithResolvers<void> | undefined

  const closed = (): void => {
    if (gone) return
    gone = true
    clearTimeout(grace)
    clearTimeout(linger)
    paced?.resolve()
    crumbs = []
    pieces = []
    waiting = 0
    events.closed()
  }

  const letBrokerGoOn = (): void => {
    clearTimeout(grace)
    grace = undefined
    if (!brokerWaits) return
    brokerWaits = false
    conn.emit('drain')
  }

  const gather = (): void => {
    if (crumbs.length > 0) pieces.push(crumbs.length === 1 ? (crumbs[0] as Buffer) : Buffer.concat(crumbs))
    crumbs = []
  }

  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    later(flush)
  }

  const flush = (): void => {
    scheduled = false
    if (paused || gone || waiting === 0) return
    gather()
    let [size, count] = [0, 0]
    while (count < pieces.length && size < HIGH_WATER) size += (pieces[count++] as Buffer).length
    const some = pieces.splice(0, count)
    waiting -= size
    events.data(some.length === 1 ? (some[0] as Buffer) : Buffer.concat(some, size))
    // the door may have said pause to these very bytes
    if (paused) return
    if (waiting > 0) return schedule()
    slow = false
    paced?.resolve()
    paced = undefined
    letBrokerGoOn()
  }

  const take = (bytes: Buffer): boolean => {
    // said to a client that has gone: true, so that a publication on its way through aedes is not lost with its acknowledgement
    if (gone || conn.destroyed) return true
    crumbs.push(bytes)
    if (crumbs.length >= CRUMBS) gather()
    waiting += bytes.length
    if (!paused) schedule()
    if (waiting > limits.backlog) {
      conn.destroy(new Error('the client is too slow'))
      return true
    }
    if (waiting < HIGH_WATER) return true
    if (!paused) {
      brokerWaits = true
      return false
    }
    if (hadGrace) slow = true
    if (slow) return true
    brokerWaits = true
    grace ??= setTimeout(() => {
      hadGrace = true
      slow = true
      letBrokerGoOn()
    }, GRACE)
    return false
  }

  const conn = new BrokerEnd({
    take,
    room: () => {
      if (!doorWaits) return
      doorWaits = false
      if (!ended) events.drain()
    },
    // aedes' last act for a client, after its will and its place in the list, is to destroy the connection
    destroyed: () => {
      if (client?.closed === true && !client.connected && !client.connecting) setImmediate(closed)
    },
  })

  const giveUp = (): void => {
    if (client === undefined) return closed()
    client.close(closed)
    conn.destroy()
  }

  return {
    conn,
    attach: (broker) => {
      client = broker
    },
    get slow() {
      return slow
    },
    get willVoid() {
      return willVoid
    },
    pace: () => {
      if (gone || waiting < HIGH_WATER / 4) return undefined
      paced ??= Promise.withResolvers()
      return paced.promise
    },
    write: (bytes) => {
      if (ended || conn.destroyed) return true
      doorWaits = !conn.push(bytes)
      return !doorWaits
    },
    pause: () => {
      paused = true
    },
    resume: () => {
      paused = false
      schedule()
    },
    end: (how) => {
      if (gone) return
      if (how !== 'abort') willVoid = true
      if (how === 'drop') {
        ended = true
        client?.close()
      } else if (!ended) {
        ended = true
        conn.push(null)
      }
      linger ??= setTimeout(giveUp, LINGER)
    },
  }
}
