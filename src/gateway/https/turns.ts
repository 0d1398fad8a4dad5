/**
 * The order of requests on each connection. `single`: the first, and nothing that comes behind it. `kept`: one after the other, with a few
 * that may wait. Not what is done with a request: exchange.ts. Not the sockets themselves: door.ts.
 */

import type { TLSSocket } from 'node:tls'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { FleetError } from '#fleet/errors.ts'
import { stopReading } from './reply.ts'
import { connectionOf, openConnection, type Connection, type Exchange, type Turn } from './connection.ts'

/** Pipelined requests that wait on one connection. Further ones are not served, and the connection ends behind these. */
const MOST_WAITING = 32
/** Requests that nobody will answer, on one connection. A client that goes on is cut off: each of them is memory. */
const MOST_IGNORED = 64
/** The same behind those that wait for their answers: they may have come with them in one piece, before anybody stopped reading. */
const MOST_IGNORED_BEHIND = 256
/** ms between two looks at what outlives its certificate, its session or its time. */
const SWEEP = SECOND / 4
/** ms that a WebSocket has when the door takes nobody new: only its two ends could say goodbye, and nobody tells them to. */
const TUNNEL_GRACE = 5 * SECOND

export type Turns = Disposable & {
  /** A request has been read. */
  arrive(turn: Turn): void
  /**
   * What was read is none, and nothing that follows is read as one.
   * @returns false: no answer is under way: the caller says it
   */
  broken(socket: TLSSocket, error: FleetError): boolean
  /** From now on every answer is the last of its connection, who is idle goes at once, and a WebSocket after a moment. */
  drain(): void
}

/**
 * @param o.serve begins it; undefined: it is over already. `connection.kind` says afterwards whether another one may follow
 * @param o.idle a connection has nothing to do and may stay
 * @param o.failed a connection ended before its first request, by a fault of ours
 * @param o.longest ms that any connection lives
 * @param o.patience ms that a client may let octets wait that this process itself says
 */
export const createTurns = (o: {
  readonly serve: (connection: Connection, turn: Turn) => Exchange | undefined
  readonly idle: (socket: TLSSocket) => void
  readonly failed: (error: unknown) => void
  readonly longest: number
  readonly patience: number
  readonly clock: Clock
}): Turns => {
  /** with a request under way, kept, or not yet gone */
  const watched = new Set<Connection>()
  let draining = false
  /** ms: no tunnel lives longer */
  let tunnelsEnd = Infinity

  /** undefined: it is gone, since who is on it cannot be read */
  const open = (socket: TLSSocket): Connection | undefined => {
    try {
      return openConnection(socket, o.clock(), o.longest)
    } catch (error) {
      socket.destroy()
      o.failed(error)
      return undefined
    }
  }

  const ignore = (connection: Connection): void => {
    // no answer: it would come behind the first one, on a connection that ends with it
    connection.ignored += 1
    const isKept = connection.kind === 'kept'
    if (connection.ignored > (isKept ? MOST_IGNORED_BEHIND : MOST_IGNORED)) connection.socket.destroy()
    // those before it get their answers, and no octet more is read before the last of them is out
    else if (isKept && !connection.ending) stopReading(connection.socket)
  }

  const begin = (connection: Connection, turn: Turn): void => {
    connection.busy = true
    if (draining) connection.close()
    const carrier = turn.early === undefined ? turn.response : connection.socket
    carrier.once('close', () => {
      finish(connection)
    })
    watched.add(connection)
    connection.running = o.serve(connection, turn)
  }

  const dismiss = (connection: Connection): void => {
    connection.leave(o.clock())
    connection.socket.destroySoon()
  }

  const finish = (connection: Connection): void => {
    connection.running?.closed()
    connection.running = undefined
    connection.busy = false
    connection.before += 1
    const { socket, waiting } = connection
    if (socket.destroyed) watched.delete(connection)
    // Node has ended it already when the answer or the request said so
    else if (connection.kind !== 'kept' || socket.writableEnded) connection.leave(o.clock())
    else if (connection.ending) dismiss(connection)
    else if (waiting.length > 0) {
      const next = waiting.shift() as Turn
      if (connection.ignored > 0 && waiting.length === 0) connection.close()
      begin(connection, next)
    } else if (connection.ignored > 0) dismiss(connection)
    else o.idle(socket)
  }

  /** Whoever does not read may not hold a connection and an origin for ever. What a tunnel holds back is its two ends' business. */
  const isUnread = (connection: Connection, now: number): boolean =>
    connection.kind !== 'tunnel' && connection.unreadFor(now) > (connection.running?.patience ?? o.patience)

  const sweep = setInterval(() => {
    const now = o.clock()
    for (const connection of watched)
      if (connection.socket.destroyed && !connection.busy) watched.delete(connection)
      else if (now > connection.endsAt || isUnread(connection, now)) connection.socket.destroy()
      else if (connection.kind === 'tunnel' && now > tunnelsEnd) connection.socket.destroy()
      else if (connection.running !== undefined && now > connection.running.notAfter)
        connection.running.recheck()
  }, SWEEP).unref()

  return {
    arrive: (turn) => {
      const socket = turn.request.socket as TLSSocket
      const connection = connectionOf(socket)
      if (connection === undefined) {
        const opened = open(socket)
        if (opened !== undefined) begin(opened, turn)
      } else if (connection.kind !== 'kept' || connection.ending || connection.ignored > 0) ignore(connection)
      else if (!connection.busy) begin(connection, turn)
      else if (connection.waiting.length < MOST_WAITING) connection.waiting.push(turn)
      else ignore(connection)
    },
    broken: (socket, error) => {
      const found = connectionOf(socket)
      const connection = found ?? open(socket)
      if (connection === undefined) return true
      connection.close()
      if (found === undefined || (found.kind === 'kept' && !found.busy)) return false
      if (connection.running === undefined || !connection.socket.writable) connection.socket.destroy()
      else connection.running.broken(error)
      return true
    },
    drain: () => {
      draining = true
      tunnelsEnd = Math.min(tunnelsEnd, o.clock() + TUNNEL_GRACE)
      for (const connection of watched) {
        if (connection.kind !== 'kept') continue
        connection.close()
        if (!connection.busy) dismiss(connection)
      }
    },
    [Symbol.dispose]: () => {
      clearInterval(sweep)
    },
  }
}
