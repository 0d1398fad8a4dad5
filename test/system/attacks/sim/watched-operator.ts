/** The operator API of a fleet, through a hole in the wall: it is told when a device has been revoked. Changes nothing. */

import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export type WatchedOperator = AsyncDisposable & { readonly url: string }

/** @param onRevoked the answer that a device is revoked goes to whoever asked */
export const watchedOperator = async (api: string, onRevoked: () => void): Promise<WatchedOperator> => {
  const { hostname, port } = new URL(api)
  const server = createServer((incoming, response) => {
    const { method, url = '', headers } = incoming
    const asking = request({ hostname, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
      if (url.endsWith('/revoke')) answer.once('end', onRevoked)
    })
    asking.on('error', () => response.destroy())
    incoming.pipe(asking)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
