/**
 * What a first start needs and finds missing: the development PKI, a server's and a gateway's certificate that are good for a while, the key
 * of the registry. Never with a configuration file: then everything is the operator's.
 */

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import {
  createPki,
  FIRST_GATEWAY,
  issueGatewayCertificate,
  issueServerCertificate,
  mayIssueGateways,
} from '#pki/ceremony.ts'
import { readCertificates } from '#pki/certificate.ts'
import { issuedBy } from '#pki/chain.ts'
import type { Config } from '#runtime/config.ts'
import { createSecretKey } from '#runtime/secrets.ts'
import { environmentName } from '#runtime/settings.ts'

const HOST = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/

/** `localhost` and, when it can stand in a certificate, this machine's own name. */
export const hostnames = (machine: string): string[] => {
  const own = machine.toLowerCase()
  return own !== 'localhost' && own.length <= 253 && HOST.test(own) ? ['localhost', own] : ['localhost']
}

export const serverNames = (machine: string): string[] => [...hostnames(machine), '127.0.0.1', '::1']

const firstIn = (path: string): CertificateFacts | undefined =>
  existsSync(path) ? readCertificates(readFileSync(path, 'utf8'))[0] : undefined

/** Good for at least a third of its life, and under the services CA that stands beside it. */
const isGood = (
  leaf: CertificateFacts | undefined,
  services: CertificateFacts,
  now: number,
): leaf is CertificateFacts =>
  leaf !== undefined && leaf.notAfter - now > (leaf.notAfter - leaf.notBefore) / 3 && issuedBy(leaf, services)

const isGoodServer = (
  server: CertificateFacts | undefined,
  services: CertificateFacts,
  names: readonly string[],
  now: number,
): boolean => isGood(server, services, now) && names.every((name) => server.sanDns.includes(name))

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
  if (services !== undefined) {
    if (!(existsSync(key) && isGoodServer(firstIn(cert), services, hostnames(machine), now)))
      await issueServerCertificate({ dir, out: { cert, key }, names: serverNames(machine), now })
    const relay = relayFiles(config)
    // a services CA of before there were gateway certificates makes none: then nobody enrols over MQTT
    if (mayIssueGateways(services) && !(existsSync(relay.key) && isGood(firstIn(relay.cert), services, now)))
      await issueGatewayCertificate({ dir, out: relay, id: FIRST_GATEWAY, now })
  }
  ensureRegistryKey(config)
}

/** Where the development PKI keeps what a gateway enrols devices over MQTT with. `ca`: who may be such a gateway. */
const relayFiles = ({
  home,
}: Config): { readonly cert: string; readonly key: string; readonly ca: string } => ({
  cert: join(home, 'certs/gateway.pem'),
  key: join(home, 'certs/private/gateway.key'),
  ca: join(home, 'certs/services.pem'),
})

/**
 * Enrolment over MQTT, out of the box: the settings of both desks, as environment.
 * @param devicesPort of the enroll desk; 0: not known before it listens, and then there is none
 * @returns nothing where the PKI has no certificate for a gateway
 */
export const relaySettings = (config: Config, devicesPort: number): Record<string, string> => {
  const { cert, key, ca } = relayFiles(config)
  if (devicesPort === 0 || ![cert, key, ca].every((path) => existsSync(path))) return {}
  return {
    [environmentName('gateway.enroll_url')]: `https://localhost:${devicesPort}`,
    [environmentName('gateway.relay_cert')]: cert,
    [environmentName('gateway.relay_key')]: key,
    [environmentName('enroll.relay_ca')]: ca,
  }
}
