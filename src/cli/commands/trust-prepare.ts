/** `trust prepare`: a further root that servers will present certificates under. Nobody is told of it yet. */

import type { Command } from 'commander'
import type { TrustAnchor, TrustAnchorCreate } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { readGiven } from '../read-given.ts'
import { TRUST_ANCHORS } from './trust-anchors.ts'

export const trustPrepare = (io: Io): Command =>
  online(
    'prepare',
    'put a further root for server certificates on record',
    'trust prepare --pem new-root.pem',
  )
    .requiredOption('--pem <file>', 'the root certificate, PEM')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online & { readonly pem: string }>()
      const body: TrustAnchorCreate = { pem: readGiven(io, options.pem).toString() }
      const anchor = await connect(io, options).call<TrustAnchor>('POST', TRUST_ANCHORS.path, { body })
      show(io, options, anchor, () => [
        `server anchor ${anchor.fingerprint} ("${anchor.common_name ?? ''}") is ${anchor.state}`,
        ...(anchor.state === 'prepared'
          ? ['  Nobody is told of it yet. Next: npx sallyport trust distribute']
          : []),
      ])
    })
