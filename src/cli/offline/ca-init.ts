/** `ca init`: the ceremony, on this machine's files; no desk is asked. The root's key may be taken away afterwards. */

import type { Command } from 'commander'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createPki } from '#pki/ceremony.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import { collect, command, show, statusUrl, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { pairs } from '../output.ts'
import { readConfig, statusUrlFor } from '../settings.ts'
import { ensureRegistryKey, serverNames } from './development.ts'

type Options = Common & {
  readonly organization?: string
  readonly serverName?: readonly string[]
  readonly passphraseFile?: string
  readonly statusUrl?: string
  readonly gatewayId?: string
}

export const caInit = (io: Io): Command =>
  command(
    'init',
    'make a root, its two intermediates, a server certificate and one of a gateway',
    'ca init --server-name gw.example.com',
  )
    .option('--organization <name>', 'in the names of the CAs (default: Sallyport)')
    .option(
      '--server-name <name>',
      'a name or address of the desks; may be repeated (default: this machine)',
      collect,
    )
    .option(
      '--gateway-id <id>',
      "in the gateway's own client certificate, for enrolment over MQTT (default: gateway)",
    )
    .option(
      '--passphrase-file <file>',
      'encrypts the CA keys; 12 characters at least (default: ca.passphrase_file)',
    )
    .option(
      '--status-url <url>',
      "where the root's CRL will be served: the intermediates name it (default: enroll.status_url, when it is set)",
      statusUrl,
    )
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const config = readConfig(io, options)
      const passphraseFile = options.passphraseFile ?? config.ca.passphrase_file
      const { server, serverKey, gateway, gatewayKey, servicesKey, rootKey, ...rest } = await createPki({
        dir: join(config.home, 'certs'),
        now: io.clock(),
        ...(options.organization === undefined ? {} : { names: { organization: options.organization } }),
        ...(passphraseFile === undefined ? {} : { passphrase: readPrivateFile(passphraseFile) }),
        serverNames: options.serverName ?? serverNames(hostname()),
        statusUrl: statusUrlFor(config, options.statusUrl),
        gatewayId: options.gatewayId,
      })
      ensureRegistryKey(config)
      const answer = {
        root: rest.root,
        root_key: rootKey,
        intermediate: rest.intermediate,
        intermediate_key: rest.intermediateKey,
        services: rest.services,
        services_key: servicesKey,
        chain: rest.chain,
        server_cert: server,
        server_key: serverKey,
        gateway_cert: gateway,
        gateway_key: gatewayKey,
        registry_key: config.secrets.key_file,
      }
      show(io, options, answer, () => [
        ...pairs(Object.entries(answer).map(([name, path]) => [name.replaceAll('_', ' '), path])),
        '',
        `No desk needs ${rootKey} or ${servicesKey}: keep them somewhere safe and offline.`,
      ])
    })
