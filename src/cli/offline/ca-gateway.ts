/**
 * `ca gateway`: a gateway's own client certificate for the enroll desk, the first one's next, or one for a further gateway. With the services
 * CA's key, where that is; no desk is asked. docs/mqtt-enrollment.md.
 */

import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { FIRST_GATEWAY, issueGatewayCertificate } from '#pki/ceremony.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import { command, show, wholeNumber, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { pairs } from '../output.ts'
import { readConfig } from '../settings.ts'

type Options = Common & {
  readonly id: string
  readonly out?: string
  readonly days?: number
  readonly passphraseFile?: string
}

export const caGateway = (io: Io): Command =>
  command(
    'gateway',
    "make a gateway's certificate, by which it relays enrolments from MQTT",
    'ca gateway --id gw-2 --out /tmp/gw-2',
  )
    .option('--id <id>', 'of the gateway, in its certificate', FIRST_GATEWAY)
    .option(
      '--out <dir>',
      'gateway.pem and private/gateway.key go there, over those of before (default: certs/)',
    )
    .option('--days <n>', 'how long it lives (default: 90)', wholeNumber(1, 825))
    .option('--passphrase-file <file>', "opens the services CA's key (default: ca.passphrase_file)")
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const config = readConfig(io, options)
      const dir = join(config.home, 'certs')
      const to = options.out === undefined ? dir : resolve(io.cwd, options.out)
      const out = { cert: join(to, 'gateway.pem'), key: join(to, 'private/gateway.key') }
      const passphraseFile =
        options.passphraseFile === undefined
          ? config.ca.passphrase_file
          : resolve(io.cwd, options.passphraseFile)
      await issueGatewayCertificate({
        dir,
        out,
        id: options.id,
        now: io.clock(),
        ...(options.days === undefined ? {} : { days: options.days }),
        ...(passphraseFile === undefined ? {} : { passphrase: readPrivateFile(passphraseFile) }),
      })
      const answer = { id: options.id, certificate: out.cert, key: out.key }
      show(io, options, answer, () => pairs(Object.entries(answer)))
    })
