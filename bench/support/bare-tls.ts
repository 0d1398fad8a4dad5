/** The smallest server with the same handshake: `tls.createServer`, the door's own options and context, and nothing done with a connection. Says its port on IPC. */

import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { deviceContext, serverOptions } from '#runtime/tls.ts'

export type BareTls = { readonly cert: string; readonly key: string; readonly ca: readonly string[] }
export type BareTlsUp = { readonly port: number }

process.once('message', ({ cert, key, ca }: BareTls) => {
  const context = deviceContext({ cert, key, ca })
  const server = createServer(
    {
      ...serverOptions({ cert, key, ca: [], handshakeTimeout: 10_000 }),
      SNICallback: (_, done) => {
        done(null, context)
      },
    },
    (socket) => socket.on('error', () => {}),
  )
  server.listen(0, '127.0.0.1', () => {
    const up: BareTlsUp = { port: (server.address() as AddressInfo).port }
    process.send?.(up)
  })
})
process.on('disconnect', () => process.exit())
