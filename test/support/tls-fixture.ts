/**
 * A TLS listener in a process of its own, so that it may be started with and without src/runtime/openssl.cnf.
 *   node test/support/tls-fixture.ts <certs dir> ours|stock      `stock`: Node's own defaults, to show that the tests can fail
 * Prints JSON lines: {"port"}, then for each connection what the server made of it.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { createServer, type TlsOptions } from 'node:tls'
import { readPeer } from '#runtime/peer.ts'
import { checkNoTickets, deviceContext, serverOptions } from '#runtime/tls.ts'

const [, , dir = '.', mode = 'ours'] = process.argv
const read = (name: string): string => readFileSync(join(dir, name), 'utf8')
const print = (line: unknown): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

const cert = read('server.pem')
const key = read('private/server.key')
const ca = [read('intermediate.pem'), read('root.pem')]

const ours = (): TlsOptions => {
  const context = deviceContext({ cert, key, ca })
  return {
    ...serverOptions({ cert, key, ca: [], handshakeTimeout: 5_000 }),
    SNICallback: (_, done) => {
      done(null, context)
    },
  }
}
const stock = (): TlsOptions => ({ cert, key, ca, requestCert: true, rejectUnauthorized: false })

const options = mode === 'ours' ? ours() : stock()
const noTickets = await checkNoTickets(options)
const server = createServer(options, (socket) => {
  const { leaf, ...peer } = readPeer(socket)
  print({ protocol: socket.getProtocol(), commonName: leaf?.commonName, ...peer, sentChain: undefined })
  // a renegotiation we refuse, or a client that hangs up
  socket.on('error', (error) => {
    print({ error: (error as NodeJS.ErrnoException).code })
  })
  socket.resume()
  socket.on('end', () => socket.end())
  socket.write('hello\n')
})
server.listen(0, '127.0.0.1', () => {
  print({ port: (server.address() as AddressInfo).port, noTickets })
})
process.on('disconnect', () => process.exit())
