/**
 * One client's way to the embedded broker, without a socket: the {@link Link} that the door holds. Gathers what aedes writes in crumbs, and
 * keeps a slow client from holding up whoever publishes to it. What aedes holds: ./broker-end.ts.
 *
 * There is one for each client, idle most of the time: no closures, and nothing that is not needed yet.
 */

import type { Ending, Link, LinkEvents } from '../upstream.ts'
import { BrokerEnd, type OtherEnd } from './broker-end.ts'

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

/** What of an aedes client says that it has ended and been forgotten. */
export type BrokerClient = {
  readonly closed: boolean
  readonly connected: boolean
  readonly connecting: boolean
  /** packets that it has read and not done with */
  readonly _parsingBatch?: number
  close(done?: () => void): void
}

export class Pipe implements Link, OtherEnd {
  readonly conn: BrokerEnd
  readonly #events: LinkEvents
  readonly #limits: PipeLimits
  readonly #later: (pipe: Pipe) => void
  #client: BrokerClient | undefined
  #crumbs: Buffer[] = []
  /** older than the crumbs */
  #pieces: Buffer[] | undefined
  #waiting = 0
  #scheduled = false
  #paused = false
  #brokerWaits = false
  #doorWaits = false
  #hadGrace = false
  #slow = false
  #tooSlow = false
  #willVoid = false
  #ended = false
  #gone = false
  #timer: NodeJS.Timeout | undefined
  /** whoever publishes to this client, and is told to wait */
  #publishers: (() => void)[] | undefined
  /** whoever has more for it, and waits until it has read all */
  #paced: (() => void)[] | undefined

  /** @param later calls {@link Pipe.flush} once, soon, after everything else of this turn */
  constructor(events: LinkEvents, limits: PipeLimits, later: (pipe: Pipe) => void) {
    this.#events = events
    this.#limits = limits
    this.#later = later
    this.conn = new BrokerEnd(this)
  }

  /** The broker's client on the other end; before the first write. */
  attach(client: BrokerClient): void {
    this.#client = client
  }

  // ---- to the client

  /** QoS 0 is not for it now. */
  get slow(): boolean {
    return this.#slow
  }

  /** May more be written that would otherwise wait elsewhere? */
  get hasRoom(): boolean {
    return this.#waiting < HIGH_WATER
  }

  /** Calls `act` when the client has taken all that waits; never when it goes. */
  whenEmpty(act: () => void): void {
    ;(this.#paced ??= []).push(act)
  }

  /** Calls `act` when its publishers need not wait for this client: now, as a rule. */
  goOn(act: () => void): void {
    if (!this.#mustWait()) return act()
    ;(this.#publishers ??= []).push(act)
  }

  /** @returns false: wait for `drain` */
  take(bytes: Buffer): boolean {
    // said to a client that has gone: true, so that a publication on its way through aedes is not lost with its acknowledgement
    if (this.#gone || this.#tooSlow || this.conn.destroyed) return true
    this.#crumbs.push(bytes)
    if (this.#crumbs.length >= CRUMBS) this.#gather()
    this.#waiting += bytes.length
    if (!this.#paused) this.#schedule()
    if (this.#waiting > this.#limits.backlog) {
      this.#tooSlow = true
      // not now: a publication may be on its way to many, and must not meet this one's will
      setImmediate(() => this.conn.destroy(new Error('the client is too slow')))
      return true
    }
    return !this.#mustWait()
  }

  flush(): void {
    this.#scheduled = false
    if (this.#paused || this.#gone) return
    if (this.#waiting > 0) this.#say()
    // the door may have said pause to these very bytes
    if (this.#paused) return
    if (this.#waiting > 0) return this.#schedule()
    this.#slow = false
    const paced = this.#paced
    this.#paced = undefined
    if (paced !== undefined) for (const act of paced) act()
    this.#letBrokerGoOn()
  }

  // ---- what the broker says

  /** The will must not be published, whatever aedes thinks. */
  get willVoid(): boolean {
    return this.#willVoid
  }

  get brokerIsBusy(): boolean {
    return (this.#client?._parsingBatch ?? 0) > 0
  }

  brokerRead(): void {
    if (!this.#doorWaits) return
    this.#doorWaits = false
    if (!this.#ended) this.#events.drain()
  }

  /** aedes' last act for a client, after its will and its place in the list, is to destroy the connection. */
  brokerDestroyed(): void {
    const client = this.#client
    if (client?.closed === true && !client.connected && !client.connecting) setImmediate(() => this.#closed())
  }

  // ---- what the door says

  write(bytes: Uint8Array): boolean {
    if (this.#ended || this.conn.destroyed) return true
    const own = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#doorWaits = !this.conn.push(own)
    return !this.#doorWaits
  }

  pause(): void {
    this.#paused = true
    // publishers wait for what it has just stopped to read: from here on no longer than its grace
    if (this.#brokerWaits) setImmediate(() => this.#limitWait())
  }

  resume(): void {
    this.#paused = false
    // also when nothing waits: it may have paused at the last of it, and whoever waits for that is told in flush
    this.#schedule()
  }

  end(how: Ending): void {
    if (this.#gone) return
    if (how !== 'abort') this.#willVoid = true
    if (how === 'drop') {
      this.#ended = true
      this.#client?.close()
    } else if (!this.#ended) {
      this.#ended = true
      this.conn.pushEnd()
    } else return
    clearTimeout(this.#timer)
    this.#letBrokerGoOn()
    this.#timer = setTimeout(() => this.#giveUp(), LINGER)
  }

  // ----

  #say(): void {
    this.#gather()
    const pieces = this.#pieces ?? []
    let [size, count] = [0, 0]
    while (count < pieces.length && size < HIGH_WATER) size += (pieces[count++] as Buffer).length
    const some = pieces.splice(0, count)
    if (pieces.length === 0) this.#pieces = undefined
    this.#waiting -= size
    this.#events.data(some.length === 1 ? (some[0] as Buffer) : Buffer.concat(some, size))
  }

  #gather(): void {
    const crumbs = this.#crumbs
    if (crumbs.length > 0)
      (this.#pieces ??= []).push(crumbs.length === 1 ? (crumbs[0] as Buffer) : Buffer.concat(crumbs))
    this.#crumbs = []
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#later(this)
  }

  #mustWait(): boolean {
    if (this.#waiting < HIGH_WATER || this.#gone || this.#ended || this.conn.destroyed) return false
    if (this.#paused) {
      if (this.#hadGrace) this.#slow = true
      if (this.#slow) return false
      this.#timer ??= setTimeout(() => {
        this.#hadGrace = true
        this.#slow = true
        this.#letBrokerGoOn()
      }, GRACE)
    }
    this.#brokerWaits = true
    return true
  }

  #limitWait(): void {
    if (this.#paused && this.#brokerWaits && !this.#mustWait()) this.#letBrokerGoOn()
  }

  #letBrokerGoOn(): void {
    if (!this.#ended) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    }
    if (!this.#brokerWaits) return
    this.#brokerWaits = false
    const publishers = this.#publishers
    this.#publishers = undefined
    if (publishers !== undefined) for (const act of publishers) act()
    this.conn.emit('drain')
  }

  #giveUp(): void {
    if (this.#client === undefined) return this.#closed()
    this.#client.close(() => this.#closed())
    this.conn.destroy()
  }

  #closed(): void {
    if (this.#gone) return
    this.#gone = true
    clearTimeout(this.#timer)
    this.#crumbs = []
    this.#pieces = undefined
    this.#paced = undefined
    this.#waiting = 0
    this.#letBrokerGoOn()
    this.#events.closed()
  }
}
