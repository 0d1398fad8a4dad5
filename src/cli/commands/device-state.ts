/** `device suspend | resume | retire | revoke`: one call each, the same command four times. What each means is #policy's and the registry's. */

import type { Command } from 'commander'
import type { Device } from '#wire/rest.ts'
import { online, reasonOption, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

const VERBS = {
  suspend: { about: 'shut a device out until it is resumed', after: 'resume lets it in again' },
  resume: { about: 'let a suspended device in again', after: 'its certificates are good again' },
  retire: {
    about: 'shut a device out for good',
    after: 'its certificates are void and the id is never used again',
  },
  revoke: {
    about: 'void all certificates and tokens of a device, at once',
    after: 'its certificates are void; only a new token bound to the id brings it back',
  },
} as const

export const deviceState = (io: Io, verb: keyof typeof VERBS): Command => {
  const { about, after } = VERBS[verb]
  const made = online(
    verb,
    about,
    `device ${verb} pump-7${verb === 'revoke' ? ' --reason keyCompromise' : ''}`,
  )
  if (verb === 'revoke') made.addOption(reasonOption())
  return made.argument('<id>', 'device id').action(async (id: string, _: unknown, self: Command) => {
    const options = self.optsWithGlobals<Online & { reason?: string }>()
    const device = await connect(io, options).call<Device>(
      'POST',
      `/v1/devices/${encodeURIComponent(id)}/${verb}`,
      options.reason === undefined ? {} : { body: { reason: options.reason } },
    )
    show(io, options, device, () => [`device ${device.id} is ${device.state}: ${after}`])
  })
}
