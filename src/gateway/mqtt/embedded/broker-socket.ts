/**
 * The embedded broker for the processes of `https.workers`: a Unix socket, mode 0600, one connection for each client. A worker's door has judged
 * what comes; here only the ClientID is read, so that it is held once in all processes. The other end: ../brokers/socket-upstream.ts.
 */

import { createServer, type Socket } from 'node:net'
import { SECOND } from '#fleet/clock.ts'
import { listenOnSocketFile } from '#runtime/unix-socket.ts'
import type { Log } from '#runtime/log.ts'
import { readConnect } from '../connect-packet.ts'
import { identityOf } from '../discard.ts'
import type { Holder, Holders } from '../holders.ts'
import { opensConnect, readVarint, varintSize, type Level } from '../packets.ts'
import type { Link, LinkEvents, Upstream } from '../upstream.ts'
import { opensPreface, PREFACE_BYTES, readPreface } from './preface.ts'

/** ms for a CONNECT to arrive, which a worker says at once. */
const PATIENCE = 10 * SECOND
/** Bytes of a CONNECT, whatever `mqtt.connect_limit` is: a worker makes it anew, and adds its own. */
const LARGEST_CONNECT = 1024 * 1024 + 4_096
/** Workers are ours; more connections than this are a mistake. */
const MOST = 200_000

/** @returns bytes of the packet at the beginning; 0: its length has not arrived; -1: it is no CONNECT, or too large */
const lengthOf = (bytes: Buffer): number => {
  if (!opensConnect(bytes[0] as number)) return -1
  const rest = readVarint(bytes, 1, bytes.length)
  if (rest < 0) return bytes.length < 5 ? 0 : -1
  const total = 1 + varintSize(rest) + rest
  return total > LARGEST_CONNECT ? -1 : total
}

/** One worker's connection for one client. */
class Visitor implements Holder, LinkEvents {
  readonly fingerprint = undefined
  readonly arrivedAt = performance.now()
  readonly #socket: Socket
  readonly #upstream: Upstream
  readonly #holders: Holders
  /** until its CONNECT has gone to the broker */
  #said: Buffer | undefined
  #timer: NodeJS.Timeout | undefined
  #clientId: string | undefined
  #level: Level = 4
  #connections: number | undefined
  #link: Link | undefined
  #over = false

  constructor(socket: Socket, upstream: Upstream, holders: Holders) {
    this.#socket = socket
    this.#upstream = upstream
    this.#holders = holders
    this.#timer = setTimeout(() => socket.destroy(), PATIENCE)
    socket
      .on('data', (bytes: Buffer) => this.#take(bytes))
      .on('drain', () => this.#link?.resume())
      .on('error', () => {})
      // a DISCONNECT before it voids the will, and its absence does not
      .on('end', () => this.#end())
      .on('close', () => this.#end())
  }

  // ---- the ClientID

  ready(): void {
    const { clientId, said } = { clientId: this.#clientId, said: this.#said }
    if (clientId === undefined || said === undefined) return
    const about = {
      clientId,
      identity: identityOf(clientId),
      level: this.#level,
      address: undefined,
      connections: this.#connections ?? 1,
    }
    this.#said = undefined
    this.#link = this.#upstream.open(this, about)
    if (this.#link.write(said)) this.#socket.resume()
  }

  superseded(): void {
    this.#end()
  }

  unavailable(): void {
    this.#end()
  }

  // ---- the broker

  data(bytes: Buffer): void {
    if (!this.#socket.write(bytes)) this.#link?.pause()
  }

  drain(): void {
    this.#socket.resume()
  }

  closed(): void {
    this.#link = undefined
    this.#over = true
    this.#release()
    clearTimeout(this.#timer)
    this.#timer = undefined
    // the worker has gone, killed perhaps, and thousands of clients with it: nobody is waited for
    if (this.#socket.destroyed) return
    this.#socket.end()
    // what the worker still says, nobody reads
    this.#socket.resume()
    this.#timer = setTimeout(() => this.#socket.destroy(), PATIENCE)
  }

  /** The gateway is closing. */
  dismiss(): void {
    this.#end()
  }

  // ----

  #take(bytes: Buffer): void {
    if (this.#over) return
    if (this.#link !== undefined) {
      if (!this.#link.write(bytes)) this.#socket.pause()
      return
    }
    const said = this.#passPreface(this.#said === undefined ? bytes : Buffer.concat([this.#said, bytes]))
    this.#said = said
    if (this.#clientId !== undefined || this.#connections === undefined || said.length === 0) return
    const length = lengthOf(said)
    if (length === -1) return void this.#socket.destroy()
    if (length === 0 || said.length < length) return
    const { kind, ...rest } = readConnect(
      said.subarray(0, length),
      length - readVarint(said, 1, said.length),
      length,
    )
    if (kind !== 'connect' || !('connect' in rest)) return void this.#socket.destroy()
    clearTimeout(this.#timer)
    this.#timer = undefined
    // one chunk more may come; the rest waits in the socket until the ClientID is ours
    this.#socket.pause()
    this.#clientId = rest.connect.clientId
    this.#level = rest.connect.level
    this.#holders.claim(this.#clientId, this)
  }

  /** @returns what comes after it; nothing as long as it is not all there */
  #passPreface(said: Buffer): Buffer {
    if (this.#connections !== undefined) return said
    const has = opensPreface(said[0] as number)
    if (has && said.length < PREFACE_BYTES) return said
    this.#connections = has ? readPreface(said) : 1
    return has ? said.subarray(PREFACE_BYTES) : said
  }

  #end(): void {
    if (this.#socket.destroyed) clearTimeout(this.#timer)
    if (this.#over) return
    this.#over = true
    if (this.#link !== undefined) return this.#link.end('abort')
    clearTimeout(this.#timer)
    this.#release()
    this.#socket.destroy()
  }

  #release(): void {
    if (this.#clientId !== undefined) this.#holders.release(this.#clientId, this)
    this.#clientId = undefined
  }
}

/** @throws FleetError `config_invalid`: others may write where it is to be, or somebody listens there */
export const openBrokerSocket = async (o: {
  readonly path: string
  readonly upstream: Upstream
  readonly holders: Holders
  readonly log: Pick<Log, 'warn'>
}): Promise<AsyncDisposable> => {
  const visitors = new Set<Visitor>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const visitor = new Visitor(socket, o.upstream, o.holders)
    visitors.add(visitor)
    socket.once('close', () => void visitors.delete(visitor))
  })
  server.maxConnections = MOST
  server.on('drop', () =>
    o.log.warn({ door: 'mqtt' }, 'a worker has too many connections to the embedded broker'),
  )
  await listenOnSocketFile(server, {
    path: o.path,
    setting: 'mqtt.broker_socket',
    who: 'process',
    folderMode: 0o700,
    socketMode: 0o600,
    group: undefined,
  })
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      for (const visitor of visitors) visitor.dismiss()
      await closed
    },
  }
}
