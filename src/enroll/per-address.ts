/**
 * So many connections at once and no more from one IPv4 address or IPv6 /64, for listeners that ask for no credential: what waits in our
 * memory for those who do not read it stays little. More are closed at once, and counted. Not the limit of the listener: http-app.ts.
 */

import type { Server, Socket } from 'node:net'
import { limitKey } from '#runtime/address-key.ts'
import { addressOf } from '#runtime/peer.ts'

/** @param o.refused called for each that was closed */
export const capConnections = (
  server: Server,
  o: { readonly most: number; readonly refused: () => void },
): void => {
  const open = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const key = limitKey(addressOf(socket))
    const count = open.get(key) ?? 0
    if (count >= o.most) {
      o.refused()
      socket.destroy()
      return
    }
    open.set(key, count + 1)
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1
      if (left > 0) open.set(key, left)
      else open.delete(key)
    })
  })
}
