/**
 * One client's way to a broker over a socket of any kind: TCP, TLS, a Unix socket. Gathers what is written in one turn of the event loop,
 * and keeps what is written before there is a socket. Not where the socket comes from: ./dial.ts and ./pool.ts.
 *
 * There is one of these for each client, so it holds no closures and, while it lives, no timer.
 */

import type { Socket } from 'node:net'
import { SECOND } from '#fleet/clock.ts'
import type { Ending, Link, LinkEvents } from '../upstream.ts'

/** Bytes gathered before they are written, whatever the turn; and how much may wait for a socket. */
const GATHERED = 64 * 1024
/** Larger writes are not copied into one. */
const COPIED = 16 * 1024

/** ms for the broker to close its side once it has been told that this one is closed; and for what waits for it to be read before. */
const LINGER = 2 * SECOND
const UNREAD = 5 * SECOND

/** Whom a link belongs to; its pool. */
export type LinkOwner = {
  /** It was ended before there was a socket. */
  cancelled(link: SocketLink): void
  /** the broker's first bytes */
  heard(): void
  /** The socket is closed. `ours`: we ended it. `heard`: the broker had said something. */
  closed(link: SocketLink, how: { readonly ours: boolean; readonly heard: boolean }): void
}

type LinkSocket = Socket & { link: SocketLink }

let dirty: SocketLink[] = []
const flushAll = (): void => {
  const all = dirty
  dirty = []
  for (const link of all) link.flush()
}

/** One buffer for all sockets: what is read is copied at once, which costs less than a buffer of 64 KiB for each read. */
const READ = Buffer.allocUnsafeSlow(64 * 1024)

/** For `net.connect` and `tls.connect`, which ignores it when it is given a socket. */
export const ONREAD = {
  buffer: READ,
  /** @returns false: no more */
  callback(this: LinkSocket, count: number): boolean {
    return this.link.take(Buffer.from(READ.subarray(0, count)))
  },
}

function onData(this: LinkSocket, bytes: Buffer): void {
  this.link.take(bytes)
}
function onDrain(this: LinkSocket): void {
  this.link.drained()
}
function onClose(this: LinkSocket): void {
  this.link.gone()
}
/** 'close' follows */
const ignored = (): void => {}

export class SocketLink implements Link {
  readonly #events: LinkEvents
  #owner: LinkOwner
  #socket: Socket | undefined
  #out: Uint8Array[] | undefined
  #size = 0
  #scheduled = false
  #paused = false
  /** what came all the same: a socket with {@link ONREAD} goes on for one read when it is resumed and paused in one turn */
  #kept: Buffer[] | undefined
  /** a write said false */
  #waits = false
  #heard = false
  #ending: Ending | undefined
  #over = false
  #linger: NodeJS.Timeout | undefined

  constructor(events: LinkEvents, owner: LinkOwner) {
    this.#events = events
    this.#owner = owner
  }

  /** Nobody waits for a socket any more. */
  get cancelled(): boolean {
    return this.#over
  }

  // ---- what the door says

  write(bytes: Uint8Array): boolean {
    if (this.#ending !== undefined || this.#over) return true
    const out = (this.#out ??= [])
    out.push(bytes)
    this.#size += bytes.length
    const socket = this.#socket
    if (socket === undefined) {
      if (this.#size < GATHERED) return true
    } else {
      if (this.#size >= GATHERED) this.#send(socket)
      else this.#schedule()
      if (!socket.writableNeedDrain) return true
    }
    this.#waits = true
    return false
  }

  pause(): void {
    this.#paused = true
    if (this.#ending === undefined) this.#socket?.pause()
  }

  resume(): void {
    this.#paused = false
    if (this.#kept === undefined) this.#socket?.resume()
    // not from within the call
    else setImmediate(() => this.#giveKept())
  }

  end(how: Ending): void {
    if (this.#ending !== undefined || this.#over) return
    this.#ending = how
    const socket = this.#socket
    if (socket !== undefined) return this.#close(socket)
    // CONNECT and DISCONNECT in one breath: how a session is ended. All else was never heard of, and need not be.
    if (how !== 'finish' || this.#out === undefined) this.#cancel()
  }

  // ---- what the pool says

  /** It is this one's, and has not been answered. */
  awaits(owner: LinkOwner): boolean {
    return this.#owner === owner && !this.#heard && this.#ending === undefined
  }

  /** @param socket connected, and nothing said on it. @param first what is said before all else. */
  attach(socket: Socket, owner: LinkOwner, first: Uint8Array | undefined): void {
    this.#socket = socket
    this.#owner = owner
    ;(socket as LinkSocket).link = this
    socket.on('data', onData).on('drain', onDrain).on('close', onClose).on('error', ignored)
    if (first !== undefined) {
      ;(this.#out ??= []).unshift(first)
      this.#size += first.length
    }
    if (this.#ending !== undefined) return this.#close(socket)
    if (this.#paused) socket.pause()
    this.flush()
  }

  /** No broker can be reached. */
  fail(): void {
    if (this.#over) return
    this.#over = true
    this.#out = undefined
    this.#events.closed()
  }

  /** At once, whatever waits. `closed` follows. */
  destroy(): void {
    if (this.#socket === undefined) this.#cancel()
    else this.#socket.destroy()
  }

  // ---- what the socket says

  flush(): void {
    this.#scheduled = false
    const socket = this.#socket
    if (socket === undefined || this.#over) return
    this.#send(socket)
    this.drained()
  }

  /** @returns false: no more for now */
  take(bytes: Buffer): boolean {
    if (!this.#heard) {
      this.#heard = true
      this.#owner.heard()
    }
    if (this.#ending !== undefined) return true
    if (this.#paused || this.#kept !== undefined) {
      ;(this.#kept ??= []).push(bytes)
      return false
    }
    this.#events.data(bytes)
    return true
  }

  drained(): void {
    if (!this.#waits || this.#socket?.writableNeedDrain === true) return
    this.#waits = false
    if (this.#ending === undefined) this.#events.drain()
  }

  gone(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#linger)
    this.#out = undefined
    this.#kept = undefined
    this.#owner.closed(this, { ours: this.#ending !== undefined, heard: this.#heard })
    this.#events.closed()
  }

  // ----

  #cancel(): void {
    if (this.#over) return
    this.#over = true
    this.#out = undefined
    this.#owner.cancelled(this)
    setImmediate(() => this.#events.closed())
  }

  #giveKept(): void {
    if (this.#paused || this.#over || this.#ending !== undefined) return
    const kept = this.#kept
    if (kept === undefined) return
    this.#kept = undefined
    this.#events.data(kept.length === 1 ? (kept[0] as Buffer) : Buffer.concat(kept))
    if (!this.#paused) this.#socket?.resume()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    if (dirty.push(this) === 1) setImmediate(flushAll)
  }

  #send(socket: Socket): void {
    const out = this.#out
    if (out === undefined || socket.destroyed) return
    const size = this.#size
    this.#out = undefined
    this.#size = 0
    if (out.length === 1) socket.write(out[0] as Uint8Array)
    else if (size <= COPIED) socket.write(Buffer.concat(out, size))
    else {
      socket.cork()
      for (const bytes of out) socket.write(bytes)
      socket.uncork()
    }
    // it said false before, and now there is room
    if (this.#waits && !socket.writableNeedDrain) this.#schedule()
  }

  /**
   * Closes our side behind what has been written, and goes on reading: a socket that is closed with bytes unread is reset, and a reset may
   * overtake what was written. Whether a will goes out is decided by the DISCONNECT before it, or its absence.
   */
  #close(socket: Socket): void {
    this.#send(socket)
    socket.end()
    socket.resume()
    this.#linger = setTimeout(() => socket.destroy(), socket.writableLength > 0 ? UNREAD : LINGER)
  }
}
