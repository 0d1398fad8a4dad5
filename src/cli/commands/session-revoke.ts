/** `session revoke`: sessions over HTTPS end before their time. Whoever has a good certificate begins a new one. */

import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import type { SessionsRevoke, SessionsRevoked } from '#wire/access-credentials.ts'
import { group, online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

type Options = Online & {
  readonly token?: string
  readonly device?: string
  readonly application?: string
  readonly everything?: boolean
}

const bodyOf = ({ token, device, application, everything }: Options): SessionsRevoke => {
  const given = Object.entries({ token, device, application }).flatMap(([scope, subject]) =>
    subject === undefined ? [] : [{ scope: scope as SessionsRevoke['scope'], subject }],
  )
  const [one, ...more] = [...given, ...(everything === true ? [{ scope: 'everything' as const }] : [])]
  if (one === undefined || more.length > 0)
    throw new FleetError(
      'config_invalid',
      'say which: one of --token JTI, --device ID, --application NAME, --everything',
    )
  return one
}

const lines = ({ scope, subject, before }: SessionsRevoked): readonly string[] => [
  scope === 'everything' || subject === null
    ? `every session that began by ${before} has ended`
    : scope === 'token'
      ? `the session ${subject} has ended`
      : `every session of the ${scope} ${subject} that began by ${before} has ended`,
  'A client with a good certificate begins a new one. To keep a device out: npx sallyport device suspend',
]

export const sessionCommands = (io: Io): Command =>
  group(
    'session',
    'sessions over HTTPS, of applications that have a duration',
    'session revoke --device pump-7',
    [
      online('revoke', 'end sessions now', 'session revoke --application dashboard')
        .option('--token <jti>', 'one session, by the jti of its token')
        .option('--device <id>', 'of a device, or of <anchor>/<common name> when it is not ours')
        .option('--application <name>', 'of an application')
        .option('--everything', 'all of them')
        .action(async (_: unknown, self: Command) => {
          const options = self.optsWithGlobals<Options>()
          const body = bodyOf(options)
          const ended = await connect(io, options).call<SessionsRevoked>('POST', '/v1/sessions/revoke', {
            body,
          })
          show(io, options, ended, () => lines(ended))
        }),
    ],
  )
