/** `operator token revoke`: an operator token that opens nothing any more. */

import type { Command } from 'commander'
import type { Operator } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

export const operatorTokenRevoke = (io: Io): Command =>
  online('revoke', 'revoke an operator token', 'operator token revoke k3v9x2m1q8w7e6r5')
    .argument('<id>', 'as `operator token ls` shows it')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const revoked = await connect(io, options).call<Operator>(
        'POST',
        `/v1/operators/${encodeURIComponent(id)}/revoke`,
      )
      show(io, options, revoked, () => [`operator token ${revoked.id} (${revoked.name}) is ${revoked.state}`])
    })
