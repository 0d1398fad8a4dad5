/** `token revoke`: a claim token that nobody may use any more. Certificates it yielded stay as they are. */

import type { Command } from 'commander'
import type { Token } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

export const tokenRevoke = (io: Io): Command =>
  online('revoke', 'revoke a claim token', 'token revoke k3v9x2m1q8w7e6r5')
    .argument('<id>', 'as `token ls` shows it')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const token = await connect(io, options).call<Token>(
        'POST',
        `/v1/tokens/${encodeURIComponent(id)}/revoke`,
      )
      show(io, options, token, () => [`token ${token.id} is ${token.state}`])
    })
