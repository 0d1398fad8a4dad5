/**
 * Everybody who is connected, from the first packet on, and who has to go when there is no more room: the one who has waited longest
 * without being admitted. So those who only hold connections push out each other, not the devices. Not the limit of one client.
 */

import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'

export type Crowd = {
  /** a new TCP connection */
  enter(socket: Socket): void
  /** The request on it (a TLS socket) goes to an origin, and is of somebody: it may stay. */
  admit(socket: Duplex): void
  /** Its request has been answered, and it may ask again: it waits like the others. */
  idle(socket: Duplex): void
  /** Ends all that were not admitted. */
  dismiss(): void
  close(): void
}

/** Node does not say which TCP connection is under a TLS socket; both know the same other end. */
const endOf = ({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string =>
  `${remoteAddress} ${remotePort}`

export const createCrowd = (o: { readonly most: number; readonly dropped: () => void }): Crowd => {
  const all = new Set<Socket>()
  /** oldest first */
  const waiting = new Map<string, Socket>()
  const admitted = new Map<string, Socket>()
  const move = (end: string, from: Map<string, Socket>, to: Map<string, Socket>): void => {
    const socket = from.get(end)
    if (socket === undefined) return
    from.delete(end)
    to.set(end, socket)
  }

  return {
    enter: (socket) => {
      if (all.size >= o.most) {
        o.dropped()
        const [longest = socket] = waiting.values()
        longest.destroy()
        if (longest === socket) return
      }
      const end = endOf(socket)
      all.add(socket)
      waiting.set(end, socket)
      socket.once('close', () => {
        all.delete(socket)
        for (const some of [waiting, admitted]) if (some.get(end) === socket) some.delete(end)
      })
    },
    admit: (socket) => {
      move(endOf(socket as Socket), waiting, admitted)
    },
    idle: (socket) => {
      move(endOf(socket as Socket), admitted, waiting)
    },
    dismiss: () => {
      for (const socket of waiting.values()) socket.destroy()
    },
    close: () => {
      for (const socket of all) socket.destroy()
    },
  }
}
