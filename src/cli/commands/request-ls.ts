/** `request ls`: the enrolments that wait for somebody to say yes or no. */

import { Option, type Command } from 'commander'
import { REQUEST_STATES } from '#fleet/credentials.ts'
import type { EnrollmentRequest } from '#wire/requests.ts'
import { age } from '../age.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'

/** The beginning of the key's hash: enough to find it, not to decide by. `show` has all of it. */
const SHORT = 16

export const requestLs = (io: Io): Command =>
  listing('list enrolments that an operator decides', 'request ls --state waiting')
    .addOption(new Option('--state <state>', 'only those').choices(REQUEST_STATES))
    .option('--group <name>', 'only of this group')
    .action(
      list<EnrollmentRequest>(io, {
        path: '/v1/requests',
        heads: ['ID', 'STATE', 'DEVICE', 'GROUP', 'KEY', 'FROM', 'AGE'],
        row: (request) => [
          request.id,
          request.state,
          request.device_id,
          request.group,
          `${request.spki_sha256.slice(0, SHORT)}…`,
          request.address,
          age(request.created_at, io.clock()),
        ],
        none: 'No such enrolments. They appear when a device of a group with approval asks.',
      }),
    )
