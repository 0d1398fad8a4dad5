/**
 * One connection of the door after its handshake: who is on it, what is being served, what waits behind, and when it has to end. Two kinds:
 * `single`, with exactly one request whatever the client does (docs/no-duration.md), and `kept`, with one after the other within a session.
 * Data and the questions about it; who acts on them: turns.ts.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { readPeer } from '#runtime/peer.ts'
import type { Fate } from './response-headers.ts'

/** What the Expect field asked for. */
export type Expectation = 'none' | 'continue' | 'unknown'

/** A request in its turn. `early`: it asks for a WebSocket, and these bytes came behind it. */
export type Turn = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly expectation: Expectation
  readonly early: Uint8Array | undefined
}

/** A request at its origin. */
export type Exchange = {
  /** ms. From then on even a running answer is judged again. */
  readonly notAfter: number
  recheck(): void
  /** What follows on the connection cannot be read. Of no interest unless it is the rest of this very request. */
  broken(error: FleetError): void
  /** answered, or the client is gone: lets go of everything */
  closed(): void
}

export type Connection = {
  readonly socket: TLSSocket
  readonly peer: Peer
  /** ms: when the handshake was over */
  readonly since: number
  kind: 'single' | 'kept' | 'tunnel'
  /** requests begun before the one that is being served */
  before: number
  /** from the first octet of a request to the last of its answer */
  busy: boolean
  running: Exchange | undefined
  readonly waiting: Turn[]
  /** requests that came and will never be served */
  ignored: number
  /** no further request is served: the answer says so when it still can */
  ending: boolean
  /** ms: cut then, whatever is under way */
  endsAt: number
  /** ids of the applications for which a session was begun on it */
  readonly begun: string[]
}

const CONNECTION = Symbol('connection')
const SINCE = Symbol('since')
type Socket = TLSSocket & { [CONNECTION]?: Connection; [SINCE]?: number }

/** Call at the end of the handshake. */
export const noteHandshake = (socket: TLSSocket, now: number): void => {
  ;(socket as Socket)[SINCE] = now
}

/** undefined: nothing was asked on it yet */
export const connectionOf = (socket: object): Connection | undefined => (socket as Socket)[CONNECTION]

/** Its first request has come. @param now ms */
export const openConnection = (socket: TLSSocket, now: number): Connection => {
  const connection: Connection = {
    socket,
    peer: readPeer(socket),
    since: (socket as Socket)[SINCE] ?? now,
    kind: 'single',
    before: 0,
    busy: false,
    running: undefined,
    waiting: [],
    ignored: 0,
    ending: false,
    endsAt: Infinity,
    begun: [],
  }
  ;(socket as Socket)[CONNECTION] = connection
  return connection
}

/** May a WebSocket be asked for on it now? Behind a request that is being served it is an ordinary request. */
export const mayUpgrade = (socket: object): boolean => {
  const connection = connectionOf(socket)
  return connection === undefined || (connection.kind === 'kept' && !connection.busy && !connection.ending)
}

/** Without a body it is whole with its header, although Node says so a little later. */
const isWhole = ({ complete, headers }: IncomingMessage): boolean =>
  complete || (headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0')

/** What the answer to `request` says of the connection. A request whose rest is still to come is the last: nobody reads it to its end. */
export const fateOf = ({ kind, ending }: Connection, request: IncomingMessage): Fate =>
  kind === 'kept' && !ending && request.httpVersionMinor === 1 && isWhole(request) ? 'open' : 'close'
