/** `token create`: a claim token for one device, or for several new ones, and the line that uses it on another machine. */

import type { Command } from 'commander'
import type { TokenCreate, TokenCreated } from '#wire/rest.ts'
import { duration, online, wholeNumber, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs, printJson, printLines, quote } from '../output.ts'

type Options = Online & {
  readonly device?: string
  readonly group?: string
  readonly uses?: number
  readonly expires?: string
  readonly certTtl?: string
  readonly quiet?: boolean
}

/** An unbound token names no device: whoever uses it does. */
const enrollLine = (made: TokenCreated): string =>
  `npx sallyport device enroll ${made.device_id ?? '<device-id>'} --token ${made.token} --server ${quote(made.enroll_url)}`

const lines = (made: TokenCreated): readonly string[] => [
  ...pairs([
    ['token', made.token],
    ['id', made.id],
    ['device', made.device_id ?? 'any new one'],
    ['group', made.group],
    ['uses', String(made.uses)],
    ['expires', made.expires_at],
  ]),
  '',
  'On the device, in a checkout of Sallyport:',
  `  ${enrollLine(made)}`,
]

export const tokenCreate = (io: Io): Command =>
  online(
    'create',
    'make a claim token, with which a device enrols',
    'token create --device pump-7 --expires 24h',
  )
    .option('--device <id>', 'bind it to this device id (default: creates new ids only)')
    .option('--group <name>', 'of the devices that it makes (default: default)')
    .option('--uses <n>', 'how many devices may use it (default: 1)', wholeNumber(1, 1_000_000))
    .option('--expires <duration>', 'how long it can be used (default: 1h)', duration)
    .option('--cert-ttl <duration>', "life of the certificates it yields (default: the group's)", duration)
    .option('--quiet', 'print nothing but the token')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const body: TokenCreate = {
        ...(options.device === undefined ? {} : { device_id: options.device }),
        ...(options.group === undefined ? {} : { group: options.group }),
        ...(options.uses === undefined ? {} : { uses: options.uses }),
        ...(options.expires === undefined ? {} : { expires: options.expires }),
        ...(options.certTtl === undefined ? {} : { cert_ttl: options.certTtl }),
      }
      const made = await connect(io, options).call<TokenCreated>('POST', '/v1/tokens', { body })
      if (options.json) printJson(io, made)
      else printLines(io, options.quiet ? [made.token] : lines(made))
    })
