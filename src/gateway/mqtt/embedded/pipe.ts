/**
 * One client's way to the embedded broker, without a socket: the stream that aedes reads and writes, and the {@link Link} that the door
 * holds. Gathers what aedes writes in crumbs, and keeps a slow client from holding up whoever publishes to it.
 */

import { Duplex } from 'node:stream'
import type { Link, LinkEvents } from '../upstream.ts'

/** Waiting for the client; beyond it the broker is told to wait. */
const HIGH_WATER = 256 * 1024

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

  const flush = (): void => {
    scheduled = false
    if (paused || gone || waiting === 0) return
    const bytes = crumbs.length === 1 ? (crumbs[0] as Buffer) : Buffer.concat(crumbs, waiting)
    crumbs = []
    waiting = 0
    events.data(bytes)
    // the door may have said pause to these very bytes
    if (paused) return
    slow = false
    paced?.resolve()
    paced = undefined
    letBrokerGoOn()
  }

  const take = (bytes: Buffer): boolean => {
    // said to a client that has gone: true, so that a publication on its way through aedes is not lost with its acknowledgement
    if (gone || conn.destroyed) return true
    crumbs.push(bytes)
    waiting += bytes.length
    if (!paused && !scheduled) {
      scheduled = true
      later(flush)
    }
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
      if (scheduled) return
      scheduled = true
      later(flush)
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
