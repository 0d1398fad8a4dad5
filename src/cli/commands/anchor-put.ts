/** `anchor put NAME --pem FILE --hostname H`: an anchor without a fleet.yaml. Whether its CAs are good for one is for the desk to judge. */

import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import type { Anchor, AnchorBody, Applied } from '#wire/access.ts'
import { collect, online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { readGiven } from '../read-given.ts'

type Options = Online & { readonly pem?: string; readonly hostname?: readonly string[] }

const bodyOf = (name: string, given: Partial<AnchorBody>, before: Anchor | undefined): AnchorBody => {
  const { pem = before?.pem, hostnames = before?.hostnames } = given
  if (pem === undefined || hostnames === undefined)
    throw new FleetError(
      'config_invalid',
      `there is no anchor ${name} yet: give its --pem and at least one --hostname`,
    )
  return { pem, hostnames, ...(before?.crl === undefined ? {} : { crl: before.crl }) }
}

export const anchorPut = (io: Io): Command =>
  online(
    'put',
    'make an anchor, or change one: what is not given stays as it was',
    'anchor put fleet --pem fleet.pem --hostname api.example.com',
  )
    .argument('<name>')
    .option('--pem <file>', 'its CA certificates, the whole chain up to the root, in place of those it had')
    .option('--hostname <name>', 'in place of those it had; give it once for each', collect)
    .action(async (name: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const given = {
        ...(options.pem === undefined ? {} : { pem: readGiven(io, options.pem).toString() }),
        ...(options.hostname === undefined ? {} : { hostnames: [...options.hostname] }),
      }
      if (Object.keys(given).length === 0)
        throw new FleetError('config_invalid', 'nothing would change: give --pem or --hostname')
      const api = connect(io, options)
      const path = `/v1/anchors/${encodeURIComponent(name)}`
      const before = await api.find<Anchor>(path)
      const body = bodyOf(name, given, before?.value)
      const put = await api.call<Anchor & Applied>('PUT', path, {
        body,
        unchangedSince: before?.etag ?? null,
      })
      show(io, options, put, () => [
        `anchor ${put.name} is in place: ${put.hostnames.join(', ')}`,
        ...put.notes.map((note) => `note: ${note}`),
      ])
    })
