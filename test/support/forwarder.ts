/** A TCP forwarder in front of a door, on one port: it can turn everybody away, as if the door were down, and open again. Sees nothing of TLS. */

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type Forwarder = AsyncDisposable & {
  /** of the same scheme and host name, on its own port */
  readonly url: string
  /** every connection is cut, and so is each that comes, until `open`. Resolves when so many have come */
  turnAway(times: number): Promise<void>
  open(): void
}

export const openForwarder = async (target: string): Promise<Forwarder> => {
  const to = new URL(target)
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
  }
  let turnedAway: (() => void) | undefined
  const server = createServer((client) => {
    keep(client)
    if (turnedAway !== undefined) {
      client.destroy()
      turnedAway()
      return
    }
    const there = keep(connect(Number(to.port), to.hostname))
    client.pipe(there).pipe(client)
    client.on('close', () => there.destroy())
    there.on('close', () => client.destroy())
  })
  await once(server.listen(0, 'localhost'), 'listening')
  return {
    url: `${to.protocol}//${to.hostname}:${(server.address() as AddressInfo).port}`,
    turnAway: (times) =>
      new Promise((resolve) => {
        let left = times
        turnedAway = () => (--left > 0 ? undefined : resolve())
        for (const socket of sockets) socket.destroy()
      }),
    open() {
      turnedAway = undefined
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
