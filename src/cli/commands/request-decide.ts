/** `request approve | deny`: the same command twice. */

import type { Command } from 'commander'
import type { EnrollmentRequestDetail } from '#wire/requests.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { clean } from '../output.ts'

const VERBS = {
  approve: {
    about: 'let a device have its certificate',
    after: 'it gets its certificate when it asks again',
  },
  deny: {
    about: 'refuse a device with this key',
    after: 'it is refused with this key; with another one it may ask again',
  },
} as const

export const requestDecide = (io: Io, verb: keyof typeof VERBS): Command =>
  online(verb, VERBS[verb].about, `request ${verb} k3v9x2m1q8w7e6r5`)
    .argument('<id>', 'id of the request')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const request = await connect(io, options).call<EnrollmentRequestDetail>(
        'POST',
        `/v1/requests/${encodeURIComponent(id)}/${verb}`,
      )
      show(io, options, request, () => [
        `${clean(request.device_id)} (key ${request.spki_sha256}) is ${request.state}: ${VERBS[verb].after}`,
      ])
    })
