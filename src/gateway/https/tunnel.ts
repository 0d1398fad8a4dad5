/**
 * The bytes of an upgraded connection, both ways, at the pace of the slower side, until one of them ends or somebody cuts it. Not the
 * handshake before it: websocket.ts.
 */

import type { Duplex } from 'node:stream'
import type { Connection, Turn } from './connection.ts'

/** ms between two looks whether the other side is there at all. */
const PROBE_AFTER = 30_000

/** A TLS or TCP socket; undici's type knows less. */
const probe = (socket: Duplex & { setKeepAlive?(on: boolean, after: number): unknown }): void => {
  socket.setKeepAlive?.(true, PROBE_AFTER)
}

/**
 * Destroying either side ends it.
 * @param o.head said to the client first, latin1
 * @param o.early what the client said behind its handshake
 * @param o.halfOpen ms that one side may go on after the other has ended
 */
const openTunnel = (o: {
  readonly client: Duplex
  readonly origin: Duplex
  readonly head: string
  readonly early: Uint8Array
  readonly halfOpen: number
}): void => {
  const { client, origin } = o
  let closing: NodeJS.Timeout | undefined
  const cut = (): void => {
    clearTimeout(closing)
    client.destroy()
    origin.destroy()
  }
  for (const side of [client, origin]) {
    side.on('error', cut).on('close', cut)
    side.on('end', () => {
      closing ??= setTimeout(cut, o.halfOpen)
    })
    probe(side)
  }
  client.write(o.head, 'latin1')
  if (o.early.byteLength > 0) origin.write(o.early)
  client.pipe(origin)
  origin.pipe(client)
}

/** The request was its last, and has been answered by the origin with 101. */
export const becomeTunnel = (
  connection: Connection,
  { response, early }: Turn,
  o: {
    readonly origin: Duplex
    readonly head: string
    readonly halfOpen: number
  },
): void => {
  const { socket } = connection
  response.detachSocket(socket)
  connection.tunnel()
  openTunnel({ ...o, client: socket, early: early ?? new Uint8Array() })
}
