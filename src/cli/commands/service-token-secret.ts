/** `service-token create | rotate`: the two that show a secret, once, with the header fields that carry it. */

import { InvalidArgumentError, type Command } from 'commander'
import type { ServiceTokenCreate, ServiceTokenSecret } from '#wire/access-credentials.ts'
import { duration, online, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs, printJson, printLines } from '../output.ts'

type Options = Online & { readonly duration?: string; readonly grace?: string; readonly quiet?: boolean }

const lines = (made: ServiceTokenSecret): readonly string[] => [
  ...pairs([
    ['id', made.id],
    ['name', made.name],
    ['expires', made.expires_at ?? 'never'],
    ['the secret before is good until', made.previous_until ?? undefined],
  ]),
  '',
  'Send both with each request. The secret is not shown again:',
  `  CF-Access-Client-Id: ${made.client_id}`,
  `  CF-Access-Client-Secret: ${made.client_secret}`,
]

const printSecret = (io: Io, options: Options, made: ServiceTokenSecret): void => {
  if (options.json) printJson(io, made)
  else printLines(io, options.quiet ? [made.client_secret] : lines(made))
}

const life = (text: string): string => {
  if (text === 'forever') return text
  try {
    return duration(text)
  } catch (cause) {
    throw new InvalidArgumentError(`${(cause as Error).message} Or forever.`)
  }
}

export const serviceTokenCreate = (io: Io): Command =>
  online(
    'create',
    'make a service token: for a program that has no certificate',
    'service-token create nightly-report --duration 90d',
  )
    .argument('<name>', 'what it is for')
    .option('--duration <duration>', 'how long it is good, or forever (default: 365d)', life)
    .option('--quiet', 'print nothing but the secret')
    .action(async (name: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const body: ServiceTokenCreate = {
        name,
        ...(options.duration === undefined ? {} : { duration: options.duration }),
      }
      const api = connect(io, options)
      printSecret(io, options, await api.call<ServiceTokenSecret>('POST', '/v1/service-tokens', { body }))
    })

export const serviceTokenRotate = (io: Io): Command =>
  online('rotate', 'give a service token a new secret', 'service-token rotate k3v9x2m1q8w7e6r5 --grace 24h')
    .argument('<id>', 'as `service-token ls` shows it')
    .option(
      '--grace <duration>',
      'how long the secret of before stays good, up to 30d (default: 0s)',
      duration,
    )
    .option('--quiet', 'print nothing but the secret')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const body = options.grace === undefined ? {} : { grace: options.grace }
      const path = `/v1/service-tokens/${encodeURIComponent(id)}/rotate`
      printSecret(io, options, await connect(io, options).call<ServiceTokenSecret>('POST', path, { body }))
    })
