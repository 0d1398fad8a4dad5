/**
 * A broker that does as it is told, on a real socket: for tests of the way to it. It reads bytes, not MQTT, unless it is told to answer
 * CONNECT. Not a broker.
 */

import { once } from 'node:events'
import { createServer, type AddressInfo, type ListenOptions, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'

export const CONNACK = Buffer.of(0x20, 0x02, 0x00, 0x00)

export type Caller = { readonly socket: Socket; readonly said: () => Buffer }

export type ScriptedBroker = AsyncDisposable & {
  readonly port: number
  /** everybody who has connected, health checks too */
  readonly callers: readonly Caller[]
  /** of callers whose first bytes hold this text */
  saying(text: string): Caller[]
}

/**
 * @param o.said what is done with each piece. Default: CONNACK to whoever speaks first.
 * @param o.half leave our side open when the other closes
 */
export const scriptedBroker = async (
  o: {
    readonly listen?: ListenOptions
    readonly tls?: TlsOptions
    readonly half?: boolean
    readonly connected?: (socket: Socket) => void
    readonly said?: (socket: Socket, bytes: Buffer) => void
  } = {},
): Promise<ScriptedBroker> => {
  const callers: Caller[] = []
  const serve = (socket: Socket): void => {
    const pieces: Buffer[] = []
    callers.push({ socket, said: () => Buffer.concat(pieces) })
    socket.on('error', () => {})
    o.connected?.(socket)
    socket.on('data', (bytes: Buffer) => {
      pieces.push(bytes)
      if (o.said !== undefined) o.said(socket, bytes)
      else if (pieces.length === 1) socket.write(CONNACK)
    })
  }
  const options = { allowHalfOpen: o.half === true }
  const server: Server =
    o.tls === undefined ? createServer(options, serve) : createTlsServer({ ...options, ...o.tls }, serve)
  server.on('tlsClientError', () => {})
  server.listen(o.listen ?? { port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo | null)?.port ?? 0,
    callers,
    saying: (text) => callers.filter(({ said }) => said().includes(text)),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const { socket } of callers) socket.destroy()
      await closed
    },
  }
}
