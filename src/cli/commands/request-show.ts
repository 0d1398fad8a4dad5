/** `request show`: all that there is to decide an enrolment by, first of all the key's hash. */

import type { Command } from 'commander'
import type { EnrollmentRequestDetail } from '#wire/requests.ts'
import { age } from '../age.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'

/** @param now ms since the epoch */
const lines = (request: EnrollmentRequestDetail, now: number): readonly string[] => [
  ...pairs([
    ['request', request.id],
    ['state', request.state],
    ['device', request.device_id],
    ['group', request.group],
    ['key', `${request.key_kind}, SHA-256 ${request.spki_sha256}`],
    ['name in CSR', request.common_name ?? '-'],
    ['came by', `${request.credential.kind} ${request.credential.id}`.trim()],
    ['came from', request.address],
    ['asked', `${request.created_at} (${age(request.created_at, now)} ago)`],
    ['until', request.expires_at],
    [
      'decided',
      request.decided_at === null ? undefined : `${request.decided_at} by ${request.decided_by ?? '-'}`,
    ],
  ]),
  ...(request.state === 'waiting'
    ? [
        '',
        'Compare the key with what the device says of itself. On the device:',
        '  openssl pkey -in key.pem -pubout -outform DER | sha256sum',
        `Then: npx sallyport request approve ${request.id}`,
      ]
    : []),
]

export const requestShow = (io: Io): Command =>
  online('show', 'show an enrolment that waits, and its key', 'request show k3v9x2m1q8w7e6r5')
    .argument('<id>', 'id of the request')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const request = await connect(io, options).call<EnrollmentRequestDetail>(
        'GET',
        `/v1/requests/${encodeURIComponent(id)}`,
      )
      show(io, options, request, () => lines(request, io.clock()))
    })
