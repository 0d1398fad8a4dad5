/**
 * The order of requests on each connection. `single`: the first, and nothing that comes behind it. `kept`: one after the other, with a few
 * that may wait. Not what is done with a request: exchange.ts. Not the sockets themselves: door.ts.
 */

import type { TLSSocket } from 'node:tls'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { FleetError } from '#fleet/errors.ts'
import { connectionOf, openConnection, type Connection, type Exchange, type Turn } from './connection.ts'

/** Pipelined requests that wait on one connection. Further ones are not served, and the connection ends behind these. */
const MOST_WAITING = 32
/** Requests that nobody will answer, on one connection. A client that goes on is cut off: each of them is memory. */
const MOST_IGNORED = 64
/** ms between two looks at what outlives its certificate, its session or its time. */
const SWEEP = SECOND / 4

export type Turns = Disposable & {
  /** A request has been read. */
  arrive(turn: Turn): void
  /**
   * What was read is none, and nothing that follows is read as one.
   * @returns false: no answer is under way: the caller says it
   */
  broken(socket: TLSSocket, error: FleetError): boolean
  /** From now on every answer is the last of its connection, and who is idle goes at once. */
  drain(): void
}

/**
 * @param o.serve begins it; undefined: it is over already. `connection.kind` says afterwards whether another one may follow
 * @param o.idle a connection has nothing to do and may stay
 */
export const createTurns = (o: {
  readonly serve: (connection: Connection, turn: Turn) => Exchange | undefined
  readonly idle: (socket: TLSSocket) => void
  readonly clock: Clock
}): Turns => {
  /** with a request under way, or kept */
  const watched = new Set<Connection>()
  let draining = false

  const ignore = (connection: Connection): void => {
    // no answer: it would come behind the first one, on a connection that ends with it
    connection.ignored += 1
    if (connection.ignored > MOST_IGNORED) connection.socket.destroy()
  }

  const begin = (connection: Connection, turn: Turn): void => {
    connection.busy = true
    if (draining) connection.ending = true
    const carrier = turn.early === undefined ? turn.response : connection.socket
    carrier.once('close', () => {
      finish(connection)
    })
    watched.add(connection)
    connection.running = o.serve(connection, turn)
  }

  const finish = (connection: Connection): void => {
    connection.running?.closed()
    connection.running = undefined
    connection.busy = false
    connection.before += 1
    const { socket, waiting } = connection
    // Node has ended it already when the answer or the request said so
    if (connection.kind !== 'kept' || socket.destroyed || socket.writableEnded) watched.delete(connection)
    else if (connection.ending) socket.destroySoon()
    else if (waiting.length > 0) {
      const next = waiting.shift() as Turn
      if (connection.ignored > 0 && waiting.length === 0) connection.ending = true
      begin(connection, next)
    } else if (connection.ignored > 0) socket.destroySoon()
    else o.idle(socket)
  }

  const sweep = setInterval(() => {
    const now = o.clock()
    for (const connection of watched)
      if (connection.socket.destroyed && !connection.busy) watched.delete(connection)
      else if (now > connection.endsAt) connection.socket.destroy()
      else if (connection.running !== undefined && now > connection.running.notAfter)
        connection.running.recheck()
  }, SWEEP).unref()

  return {
    arrive: (turn) => {
      const socket = turn.request.socket as TLSSocket
      const connection = connectionOf(socket)
      if (connection === undefined) begin(openConnection(socket, o.clock()), turn)
      else if (connection.kind !== 'kept' || connection.ending || connection.ignored > 0) ignore(connection)
      else if (!connection.busy) begin(connection, turn)
      else if (connection.waiting.length < MOST_WAITING) connection.waiting.push(turn)
      else ignore(connection)
    },
    broken: (socket, error) => {
      const found = connectionOf(socket)
      const connection = found ?? openConnection(socket, o.clock())
      connection.ending = true
      if (found === undefined || (found.kind === 'kept' && !found.busy)) return false
      if (connection.running === undefined || !connection.socket.writable) connection.socket.destroy()
      else connection.running.broken(error)
      return true
    },
    drain: () => {
      draining = true
      for (const connection of watched) {
        if (connection.kind !== 'kept') continue
        connection.ending = true
        if (!connection.busy) connection.socket.destroySoon()
      }
    },
    [Symbol.dispose]: () => {
      clearInterval(sweep)
    },
  }
}
