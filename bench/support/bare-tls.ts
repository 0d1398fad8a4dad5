/**
 * The smallest server with the same handshake: `tls.createServer`, the door's own options and context, and nothing done with a connection; or no more
 * than a CONNACK for the first thing it says. Says its port on IPC.
 */

import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { deviceContext, serverOptions } from '#runtime/tls.ts'

export type BareTls = {
  readonly cert: string
  readonly key: string
  readonly ca: readonly string[]
  /** answers what comes first as a CONNECT of MQTT 3.1.1 */
  readonly connack?: boolean
}
export type BareTlsUp = { readonly port: number }

process.once('message', ({ cert, key, ca, connack }: BareTls) => {
  const context = deviceContext({ cert, key, ca })
  const server = createServer(
    {
      ...serverOptions({ cert, key, ca: [], handshakeTimeout: 10_000 }),
      SNICallback: (_, done) => {
        done(null, context)
      },
    },
    (socket) => {
      socket.on('error', () => {})
      if (connack === true) socket.once('data', () => socket.write(Buffer.from([0x20, 2, 0, 0])))
    },
  )
  server.listen(0, '127.0.0.1', () => {
    const up: BareTlsUp = { port: (server.address() as AddressInfo).port }
    process.send?.(up)
  })
})
process.on('disconnect', () => process.exit())
