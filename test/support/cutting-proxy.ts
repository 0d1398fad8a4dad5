/**
 * A TCP proxy in front of a desk that loses replies: from `lose()` on, what the desk sends is counted and dropped. Sees no plain text, and
 * nothing of TLS: a client that wants its reply lost finishes its handshake first.
 */

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type CuttingProxy = AsyncDisposable & {
  readonly url: string
  /** from now on no byte of the desk comes through */
  lose(): void
  /** resolves when the desk has sent something since {@link lose}; then every connection is cut */
  lost(): Promise<void>
}

/** @param target of the desk's listener */
export const startCuttingProxy = async (target: string): Promise<CuttingProxy> => {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  const first = Promise.withResolvers<void>()
  let losing = false
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
  }
  const server = createServer((client) => {
    const desk = keep(connect(Number(port), hostname))
    keep(client)
    client.on('data', (bytes: Buffer) => desk.write(bytes))
    desk.on('data', (bytes: Buffer) => {
      if (losing) first.resolve()
      else client.write(bytes)
    })
    client.on('close', () => desk.destroy())
    desk.on('close', () => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lose: () => {
      losing = true
    },
    lost: async () => {
      await first.promise
      cut()
    },
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
