/** `device ls`: the fleet, a page at a time. */

import { Option, type Command } from 'commander'
import { DEVICE_CONDITIONS } from '#fleet/device.ts'
import type { Device } from '#wire/rest.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'

export const deviceLs = (io: Io): Command =>
  listing('list devices', 'device ls --state renewal_due --group pumps')
    .addOption(new Option('--state <state>', 'only those').choices(DEVICE_CONDITIONS))
    .option('--group <name>', 'only those of this enrolment group')
    .action(
      list<Device>(io, {
        path: '/v1/devices',
        heads: ['ID', 'STATE', 'GROUP', 'CERTIFIED UNTIL', 'LAST SEEN', 'NOTE'],
        row: (device) => [
          device.id,
          device.state,
          device.group,
          device.expires_at ?? '-',
          device.last_seen_at ?? '-',
          device.clone_suspected_at === null ? '' : 'clone suspected',
        ],
        none: 'No such devices. A device enrols with a token: npx sallyport token create',
      }),
    )
