/** `device show`: one device and its certificates. */

import type { Command } from 'commander'
import type { Device } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs, table } from '../output.ts'

const lines = (device: Device): readonly string[] => [
  ...pairs([
    ['device', device.id],
    ['state', device.state],
    ['group', device.group],
    ...Object.entries(device.tags).map(([name, value]) => [`tag ${name}`, value] as const),
    ['enrolled', device.created_at],
    ['last seen', device.last_seen_at ?? 'never'],
  ]),
  '',
  ...table(
    ['SERIAL', 'STATE', 'NOT AFTER', 'REVOKED'],
    device.certificates.map((certificate) => [
      certificate.serial,
      certificate.state,
      certificate.not_after,
      certificate.revoked_at === undefined
        ? ''
        : `${certificate.revoked_at} ${certificate.revocation_reason ?? ''}`,
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
