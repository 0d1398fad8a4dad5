/** `issuer revoke`: every certificate of an issuing CA is void, at once. What is left to be done comes with the answer. */

import type { Command } from 'commander'
import type { IssuerMoved } from '#wire/rest.ts'
import { online, reasonOption, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { findOne, noteLines } from '../rotating.ts'
import { ISSUERS } from './issuers.ts'

export const issuerRevoke = (io: Io): Command =>
  online(
    'revoke',
    'void every certificate of an issuing CA, at once',
    'issuer revoke 3f0c9a1e --reason cACompromise',
  )
    .argument('<ski>', 'its subject key id, or the beginning of it')
    .addOption(reasonOption())
    .action(async (given: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online & { readonly reason: string }>()
      const api = connect(io, options)
      const { ski } = await findOne(api, ISSUERS, given)
      const body = { reason: options.reason }
      const moved = await api.call<IssuerMoved>('POST', `${ISSUERS.path}/${ski}/revoke`, { body })
      show(io, options, moved, () => [
        `issuer ${moved.ski} ("${moved.common_name ?? ''}") is revoked`,
        ...noteLines(moved.notes),
      ])
    })
