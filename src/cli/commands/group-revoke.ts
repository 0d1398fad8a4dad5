/** `group revoke`: every device of a group. As many requests as it takes, each of some seconds; stopped halfway, it goes on when repeated. */

import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import type { GroupRevoked } from '#wire/revocations.ts'
import { online, reasonOption, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

type Options = Online & { readonly reason: string; readonly yes?: boolean }

export const groupRevoke = (io: Io): Command =>
  online(
    'revoke',
    'void all certificates of all devices of a group, at once',
    'group revoke cameras --reason keyCompromise --yes',
  )
    .addOption(reasonOption())
    .option('--yes', 'really: no door opens to any of them again without a new token')
    .argument('<name>')
    .action(async (name: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      if (options.yes !== true)
        throw new FleetError(
          'config_invalid',
          `this ends every device of group ${name}; each needs a new token bound to its id to come back. Say --yes to do it`,
        )
      const api = connect(io, options)
      const path = `/v1/groups/${encodeURIComponent(name)}/revoke`
      let revoked = 0
      let next: string | null = null
      do {
        const body = { reason: options.reason, ...(next === null ? {} : { after: next }) }
        const part: GroupRevoked = await api.call('POST', path, { body })
        revoked += part.revoked
        next = part.next
        if (next !== null) io.err.write(`${revoked} devices revoked, going on\n`)
      } while (next !== null)
      show(io, options, { group: name, revoked }, () => [
        `group ${name}: ${revoked} devices revoked`,
        'devices may still enrol into it: disable the group if they should not',
      ])
    })
