/**
 * One connection of the door after its handshake: who is on it, what is being served, what waits behind, and when it has to end. Three
 * kinds: `single`, with exactly one request whatever the client does (docs/no-duration.md); `kept`, with one after the other within a session;
 * and `tunnel`, which either of them becomes with a WebSocket, and which carries none any more.
 * Its data, and the rule how it goes on; who acts on them: turns.ts.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { SECOND } from '#fleet/clock.ts'
import type { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { readPeerOf } from '#runtime/peer.ts'
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
  /** Is it of somebody? Else it may be pushed out when the door is full. */
  readonly isNamed: boolean
  /** ms that its client may let octets of the answer wait */
  readonly patience: number
  /** ms. From then on even a running answer is judged again, and may have another end. */
  notAfter: number
  recheck(): void
  /** What follows on the connection cannot be read. Of no interest unless it is the rest of this very request. */
  broken(error: FleetError): void
  /** answered, or the client is gone: lets go of everything */
  closed(): void
}

/** Without a body it is whole with its header, although Node says so a little later. */
const isWhole = ({ complete, headers }: IncomingMessage): boolean =>
  complete || (headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0')

/** ms that a client has to take the last octets of the last answer. */
const LEAVING = 10 * SECOND

/** What decides how it goes on changes in here alone. The other fields are turns.ts's, but for `begun`. */
export class Connection {
  readonly socket: TLSSocket
  readonly peer: Peer
  /** ms: when the handshake was over */
  readonly since: number
  /** requests begun before the one that is being served */
  before = 0
  /** from the first octet of a request to the last of its answer */
  busy = false
  running: Exchange | undefined = undefined
  readonly waiting: Turn[] = []
  /** requests that came and will never be served */
  ignored = 0
  /** ids of the applications for which a session was begun on it */
  readonly begun: string[] = []
  #kind: 'single' | 'kept' | 'tunnel' = 'single'
  #ending = false
  #endsAt: number
  #taken = -1
  #takenAt = 0

  constructor(o: Pick<Connection, 'socket' | 'peer' | 'since' | 'endsAt'>) {
    this.socket = o.socket
    this.peer = o.peer
    this.since = o.since
    this.#endsAt = o.endsAt
  }

  get kind(): 'single' | 'kept' | 'tunnel' {
    return this.#kind
  }
  /** no further request is served */
  get ending(): boolean {
    return this.#ending
  }
  /** ms: cut then, whatever is under way */
  get endsAt(): number {
    return this.#endsAt
  }

  /** Another request may follow the one that is being served. */
  keep(): void {
    if (this.#kind === 'single') this.#kind = 'kept'
  }
  /** The request that is being served is the last: the answer says so when it still can. */
  close(): void {
    this.#ending = true
  }
  /** It carries no more requests. */
  tunnel(): void {
    this.#kind = 'tunnel'
  }
  /** The last answer is written, as far as this process can see: whoever does not take it is not waited for. */
  leave(now: number): void {
    this.#ending = true
    this.#endsAt = Math.min(this.#endsAt, now + LEAVING)
  }
  /**
   * What an answer to `request`, which is written now, says of the connection. A request whose rest is still to come is the last: nobody reads
   * it to its end. Behind a `close` nothing more is served (RFC 9112 §9.6).
   */
  fate(request: IncomingMessage): Fate {
    if (this.#kind === 'kept' && !this.#ending && request.httpVersionMinor === 1 && isWhole(request))
      return 'open'
    this.#ending = true
    return 'close'
  }
  /** ms since the client has last taken any of the octets that wait for it; 0: none wait. For whoever asks again and again. */
  unreadFor(now: number): number {
    const { writableLength, bytesWritten } = this.socket
    const taken = writableLength === 0 ? -1 : bytesWritten - writableLength
    if (taken !== this.#taken) {
      this.#taken = taken
      this.#takenAt = now
    }
    return taken === -1 ? 0 : now - this.#takenAt
  }
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

/** Its first request has come. @param now ms @param longest ms that any connection lives */
export const openConnection = (socket: TLSSocket, now: number, longest: number): Connection => {
  const since = (socket as Socket)[SINCE] ?? now
  const connection = new Connection({ socket, peer: readPeerOf(socket), since, endsAt: since + longest })
  ;(socket as Socket)[CONNECTION] = connection
  return connection
}

/** May a WebSocket be asked for on it now? Behind a request that is being served it is an ordinary request. */
export const mayUpgrade = (socket: object): boolean => {
  const connection = connectionOf(socket)
  return connection === undefined || (connection.kind === 'kept' && !connection.busy && !connection.ending)
}
