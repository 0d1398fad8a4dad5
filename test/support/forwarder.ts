/** A TCP forwarder in front of a door, on one port: it can go away, as a machine that loses its power, and come back. Sees nothing of TLS. */

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export type Forwarder = AsyncDisposable & {
  /** of the same scheme and host name, on its own port */
  readonly url: string
  /** every connection is cut, and nobody listens any more */
  close(): Promise<void>
  open(): Promise<void>
}

export const openForwarder = async (target: string): Promise<Forwarder> => {
  const to = new URL(target)
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
  }
  let server: Server | undefined
  let port = 0
  const open = async (): Promise<void> => {
    server = createServer((client) => {
      const there = keep(connect(Number(to.port), to.hostname))
      keep(client)
      client.pipe(there).pipe(client)
      client.on('close', () => there.destroy())
      there.on('close', () => client.destroy())
    })
    await once(server.listen(port, 'localhost'), 'listening')
    ;({ port } = server.address() as AddressInfo)
  }
  const close = async (): Promise<void> => {
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    server = undefined
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await open()
  return {
    url: `${to.protocol}//${to.hostname}:${port}`,
    open,
    close,
    [Symbol.asyncDispose]: close,
  }
}
