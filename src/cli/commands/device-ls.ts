/** `device ls`: the fleet, a page at a time. */

import { Option, type Command } from 'commander'
import { DEVICE_STATES } from '#fleet/device.ts'
import type { Device } from '#wire/rest.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'

/** The end of the newest certificate that is still good. */
const certifiedUntil = (device: Device): string =>
  device.certificates
    .filter(({ state }) => state === 'live')
    .map(({ not_after }) => not_after)
    .toSorted()
    .at(-1) ?? '-'

export const deviceLs = (io: Io): Command =>
  listing('list devices', 'device ls --state suspended')
    .addOption(new Option('--state <state>', 'only those').choices(DEVICE_STATES))
    .action(
      list<Device>(io, {
        path: '/v1/devices',
        heads: ['ID', 'STATE', 'CERTIFIED UNTIL', 'LAST SEEN'],
        row: (device) => [device.id, device.state, certifiedUntil(device), device.last_seen_at ?? '-'],
        none: 'No such devices. A device enrols with a token: npx sallyport token create',
      }),
    )
