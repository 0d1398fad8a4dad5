/** `issuer scan`: the desk looks for issuers whose files have come, after they were made on another machine. */

import type { Command } from 'commander'
import type { IssuerScan } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect, type OperatorApi } from '../operator-api.ts'
import { ISSUERS } from './issuers.ts'

export const scan = (api: OperatorApi): Promise<IssuerScan> =>
  api.call<IssuerScan>('POST', ISSUERS.path, { body: {} })

export const issuerScan = (io: Io): Command =>
  online('scan', 'have the desk look for new issuers in ca.issuers', 'issuer scan').action(
    async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const found = await scan(connect(io, options))
      show(io, options, found, () => [
        ...found.items.map(
          ({ ski, common_name: name, state }) => `issuer ${ski} ("${name ?? ''}") is ${state}`,
        ),
        ...found.problems.map((problem) => `cannot be used: ${problem}`),
        ...found.notes,
      ])
    },
  )
