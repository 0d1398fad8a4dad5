/**
 * Ports for programs that cannot take port 0. Free a moment ago, which is all that can be had; below those that the kernel gives to connections
 * and to port 0 (Linux: from 32768, others: from 49152), so that nobody else's connection sits on one before it is used or between two starts.
 */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'

const LOWEST = 10_000
const BEYOND = 32_768

const listen = async (): Promise<Server> => {
  for (;;) {
    const server = createServer().listen(randomInt(LOWEST, BEYOND), '127.0.0.1')
    try {
      await once(server, 'listening')
      return server
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }
}

/** All different: none is given back before all are found. */
export const freePorts = async (count: number): Promise<number[]> => {
  const servers = await Promise.all(Array.from({ length: count }, listen))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

export const freePort = async (): Promise<number> => (await freePorts(1))[0] as number
