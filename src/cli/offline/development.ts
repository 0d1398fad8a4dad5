/**
 * What a first start needs and finds missing: the development PKI, a server certificate that is good for a while, the key of the
 * registry. Never with a configuration file: then everything is the operator's.
 */

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { createPki, issueServerCertificate } from '#pki/ceremony.ts'
import { readCertificates } from '#pki/certificate.ts'
import { issuedBy } from '#pki/chain.ts'
import type { Config } from '#runtime/config.ts'
import { createSecretKey } from '#runtime/secrets.ts'

const HOST = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/

/** `localhost` and, when it can stand in a certificate, this machine's own name. */
export const hostnames = (machine: string): string[] => {
  const own = machine.toLowerCase()
  return own !== 'localhost' && own.length <= 253 && HOST.test(own) ? ['localhost', own] : ['localhost']
}

export const serverNames = (machine: string): string[] => [...hostnames(machine), '127.0.0.1', '::1']

const firstIn = (path: string): CertificateFacts | undefined =>
  existsSync(path) ? readCertificates(readFileSync(path, 'utf8'))[0] : undefined

/** Good for at least a third of its life, for these hostnames, and under the services CA that stands beside it. */
const isGood = (
  server: CertificateFacts | undefined,
  services: CertificateFacts | undefined,
  names: readonly string[],
  now: number,
): boolean =>
  server !== undefined &&
  services !== undefined &&
  server.notAfter - now > (server.notAfter - server.notBefore) / 3 &&
  names.every((name) => server.sanDns.includes(name)) &&
  issuedBy(server, services)

/** What is sealed in the registry is sealed under it, so it is never replaced. */
export const ensureRegistryKey = (config: Config): void => {
  const path = config.secrets.key_file
  if (existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  createSecretKey(path)
}

/** @throws conflict when a part of a PKI is there and the root is not */
export const ensureDevelopmentPki = async (o: {
  readonly config: Config
  readonly machine: string
  readonly now: number
}): Promise<void> => {
  const { config, machine, now } = o
  const dir = join(config.home, 'certs')
  const { cert, key } = config.tls
  // A root elsewhere was imported: its owner also has a server certificate for us.
  const ours = config.ca.root === join(dir, 'root.pem')
  if (ours && !existsSync(config.ca.root))
    await createPki({ dir, now, serverNames: serverNames(machine) }).catch((error: unknown) => {
      if (!(error instanceof FleetError) || error.code !== 'conflict') throw error
      throw new FleetError('conflict', `${error.detail}. To start afresh: npm run reset`, { cause: error })
    })
  const services = firstIn(join(dir, 'services.pem'))
  if (
    services !== undefined &&
    !(existsSync(key) && isGood(firstIn(cert), services, hostnames(machine), now))
  )
    await issueServerCertificate({ dir, out: { cert, key }, names: serverNames(machine), now })
  ensureRegistryKey(config)
}
