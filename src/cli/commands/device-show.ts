/** `device show`: one device and its certificates. */

import type { Command } from 'commander'
import type { Device } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs, table } from '../output.ts'

/** What an operator does about it. */
const suspicion = ({ id, clone_suspected_at: at }: Device): readonly string[] =>
  at === null
    ? []
    : [
        '',
        `Since ${at} a copy of this device is suspected: a superseded certificate asked to be renewed with another key.`,
        `  no copy   npx sallyport device clear-clone ${id}`,
        `  a copy    npx sallyport device revoke ${id} --reason keyCompromise, and a new token for the real one`,
      ]

/** What has become of it: how long it waits, what took its place, why it ended. */
const fate = (certificate: Device['certificates'][number]): string => {
  if (certificate.revoked_at !== undefined)
    return `revoked ${certificate.revoked_at} ${certificate.revocation_reason ?? ''}`
  if (certificate.pending_until !== undefined) return `to be confirmed by ${certificate.pending_until}`
  return certificate.superseded_by === undefined ? '' : `superseded by ${certificate.superseded_by}`
}

const lines = (device: Device): readonly string[] => [
  ...pairs([
    ['device', device.id],
    ['state', device.state],
    ['group', device.group],
    ...Object.entries(device.tags).map(([name, value]) => [`tag ${name}`, value] as const),
    ['known since', device.created_at],
    ['last seen', device.last_seen_at ?? 'never'],
    ['renews', device.renew_at ?? undefined],
    ['certified until', device.expires_at ?? undefined],
    ['registered key', device.registered_spki ?? undefined],
  ]),
  ...suspicion(device),
  '',
  ...table(
    ['SERIAL', 'STATE', 'SLOT', 'NOT AFTER', ''],
    device.certificates.map((certificate) => [
      certificate.serial,
      certificate.state,
      certificate.slot ?? '-',
      certificate.not_after,
      fate(certificate),
    ]),
  ),
]

export const deviceShow = (io: Io): Command =>
  online('show', 'show a device and its certificates', 'device show pump-7')
    .argument('<id>', 'device id')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const device = await connect(io, options).call<Device>('GET', `/v1/devices/${encodeURIComponent(id)}`)
      show(io, options, device, () => lines(device))
    })
