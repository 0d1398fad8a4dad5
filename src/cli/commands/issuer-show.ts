/** `issuer show`: one issuing CA. */

import type { Command } from 'commander'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'
import { fetchedText, findOne } from '../rotating.ts'
import { ISSUERS } from './issuers.ts'

export const issuerShow = (io: Io): Command =>
  online('show', 'show an issuing CA', 'issuer show 3f0c9a1e')
    .argument('<ski>', 'its subject key id, or the beginning of it')
    .action(async (given: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const issuer = await findOne(connect(io, options), ISSUERS, given)
      show(io, options, issuer, () =>
        pairs([
          ['issuer', issuer.ski],
          ['name', issuer.common_name ?? '-'],
          ['sha256', issuer.sha256],
          ['state', issuer.state],
          ['signs', issuer.signs ? 'yes' : 'no'],
          ['key here', issuer.key_here ? 'yes' : 'no'],
          ['from', issuer.not_before],
          ['until', issuer.not_after],
          ['certificates in use', String(issuer.live_certificates)],
          ['offered since', issuer.offered_at ?? undefined],
          ['fetched by', issuer.fetched === null ? undefined : `${fetchedText(issuer)} active devices`],
        ]),
      )
    })
