/** `cert show`: one certificate, by its serial. */

import type { Command } from 'commander'
import type { CertificateShown } from '#wire/revocations.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'

const lines = ({ pem, ...shown }: CertificateShown): readonly string[] => [
  ...pairs(Object.entries(shown).map(([name, value]) => [name.replaceAll('_', ' '), value] as const)),
  ...(pem === undefined ? [] : ['', pem.trimEnd()]),
]

export const certShow = (io: Io): Command =>
  online('show', 'show a certificate', 'cert show 4f0c9a1e…')
    .argument('<serial>', 'hex, as `cert ls` and openssl print it')
    .action(async (serial: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const shown = await connect(io, options).call<CertificateShown>(
        'GET',
        `/v1/certificates/${encodeURIComponent(serial)}`,
      )
      show(io, options, shown, () => lines(shown))
    })
