/** Ports for programs that cannot take port 0. Free a moment ago, which is all that can be had. */

import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'

/** All different: none is given back before all are found. */
export const freePorts = async (count: number): Promise<number[]> => {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => (server.listening ? undefined : once(server, 'listening'))))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
