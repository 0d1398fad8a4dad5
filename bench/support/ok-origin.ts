/** The smallest origin: "ok\n" to everything, connections kept. Says its port on IPC. */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export type OriginUp = { readonly port: number }

const server = createServer((request, response) => {
  request.resume()
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': '3' })
  response.end('ok\n')
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const up: OriginUp = { port: (server.address() as AddressInfo).port }
  process.send?.(up)
})
process.on('disconnect', () => process.exit())
