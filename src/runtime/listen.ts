/** Binding a socket, with the answers an operator needs when it fails. Not what is served on it. */

import { once } from 'node:events'
import { type AddressInfo, type Server } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { FleetError } from '#fleet/errors.ts'
import { isLoopback, type Listen } from './config.ts'
import { showAddress } from './kinds.ts'
import { environmentName } from './settings.ts'

type Explain = (at: Listen) => string

const settle = (at: Listen): string => `set ${at.key} or ${environmentName(at.key)}`

const FAILURES: Readonly<Record<string, Explain>> = {
  EADDRINUSE: (at) =>
    `port ${at.port} is taken (${at.key}: ${showAddress(at.host, at.port)}): stop the other program, ${settle(at)}, or run \`npm start -- --ports 0\` for free ports`,
  EACCES: (at) => `port ${at.port} is not allowed for this user (${at.key}): ${settle(at)}`,
  EADDRNOTAVAIL: (at) => `${at.host} is not an address of this machine (${at.key}): ${settle(at)}`,
  ENOTSUP: (at) => `this system does not share a port among processes (${at.key}): set https.workers to 0`,
  ENOTFOUND: (at) => `${at.host} has no address (${at.key}): ${settle(at)}`,
}

const NO_IPV6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL'])

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

const bind = async (server: Server, { port, shared }: Listen, host: string): Promise<AddressInfo> => {
  if (shared?.inherited === undefined) server.listen({ host, port, reusePort: shared !== undefined })
  else server.listen(shared.inherited)
  await once(server, 'listening')
  shared?.bound(server)
  return server.address() as AddressInfo
}

/** What must not be plain beyond this machine, whatever configuration and desk agreed on: the operator API, and what asks for no credential. */
const PLAIN_ON_LOOPBACK_ONLY: ReadonlySet<string> = new Set([
  'enroll.operator_listen',
  'enroll.metrics_listen',
  'gateway.metrics_listen',
])

const mustBeLoopback = (server: Server, at: Listen): boolean =>
  PLAIN_ON_LOOPBACK_ONLY.has(at.key) && !(server instanceof TlsServer)

/**
 * `[::]` takes IPv4 too, and falls back to it on a machine without IPv6.
 * @returns what was bound: the port when 0 was asked for
 * @throws FleetError `config_invalid`, saying which setting and what to do
 */
export const listen = async (server: Server, at: Listen): Promise<{ host: string; port: number }> => {
  const refuse = (): never => {
    throw new FleetError(
      'config_invalid',
      `${at.key}: got ${showAddress(at.host, at.port)} without TLS, expected a loopback address or TLS`,
    )
  }
  if (mustBeLoopback(server, at) && !isLoopback(at.host)) refuse()
  let bound: AddressInfo
  try {
    bound = await bind(server, at, at.host).catch((error: unknown) => {
      if (at.host === '::' && NO_IPV6.has(codeOf(error))) return bind(server, at, '0.0.0.0')
      throw error
    })
  } catch (cause) {
    const explain = FAILURES[codeOf(cause)]
    if (explain === undefined) throw cause
    throw new FleetError('config_invalid', explain(at), { cause })
  }
  // a hosts file may say that localhost is elsewhere
  if (mustBeLoopback(server, at) && !isLoopback(bound.address)) {
    server.close()
    refuse()
  }
  return { host: bound.address, port: bound.port }
}

const WILDCARDS = new Set(['::', '0.0.0.0'])

/** A URL that a client on this machine can use: a listener on all addresses is `localhost`. No trailing slash. */
export const urlFor = (scheme: string, host: string, port: number): string =>
  `${scheme}://${showAddress(WILDCARDS.has(host) ? 'localhost' : host, port)}`
