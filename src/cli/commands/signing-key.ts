/** `signing-key ls | rotate`: the keys that the gateway signs assertions and session tokens with. */

import type { Command } from 'commander'
import type { SigningKey } from '#wire/access-credentials.ts'
import { group, online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'
import { connect } from '../operator-api.ts'

const PATH = '/v1/signing-keys'

export const signingKeyCommands = (io: Io): Command =>
  group('signing-key', 'the keys of assertions and session tokens', 'signing-key ls', [
    listing('list signing keys', 'signing-key ls').action(
      list<SigningKey>(io, {
        path: PATH,
        heads: ['KID', 'ALGORITHM', 'MADE', 'SIGNS UNTIL', 'ACCEPTED UNTIL'],
        row: (key) => [
          key.kid,
          key.algorithm,
          key.created_at,
          key.rotates_at ?? '-',
          key.signs ? '-' : (key.retires_at ?? '-'),
        ],
        none: 'No signing keys: the enroll desk makes the first one when it starts.',
      }),
    ),
    online('rotate', 'a new key, which signs in five minutes', 'signing-key rotate')
      .option('--discard', 'it signs at once, and the keys of before end, and with them every session')
      .action(async (_: unknown, self: Command) => {
        const options = self.optsWithGlobals<Online & { readonly discard?: boolean }>()
        const body = options.discard === true ? { discard: true } : {}
        const key = await connect(io, options).call<SigningKey>('POST', `${PATH}/rotate`, { body })
        const when =
          options.discard === true ? 'signs from now on' : 'is published, and signs in five minutes'
        show(io, options, key, () => [
          `the ${key.algorithm} key ${key.kid} ${when}`,
          options.discard === true
            ? 'Those before it are gone: every session has ended, and origins that keep our keys must fetch them again.'
            : 'Those before it stay published until they retire: npx sallyport signing-key ls',
        ])
      }),
  ])
