/** `device clear-clone`: an operator has looked into it, and it was no copy. */

import type { Command } from 'commander'
import type { Device } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

export const deviceClearClone = (io: Io): Command =>
  online(
    'clear-clone',
    'take away the suspicion that a device was copied; a suspended one is still to be resumed',
    'device clear-clone pump-7',
  )
    .argument('<id>', 'device id')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const path = `/v1/devices/${encodeURIComponent(id)}/clear-clone`
      const device = await connect(io, options).call<Device>('POST', path)
      show(io, options, device, () => [
        `device ${device.id} is no longer suspected of having been copied; it is ${device.state}`,
      ])
    })
