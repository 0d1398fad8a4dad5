/** `service-token ls | show | revoke`, and the group of all five. Never a secret: those are not kept. */

import type { Command } from 'commander'
import type { ServiceToken } from '#wire/access-credentials.ts'
import { group, online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'
import { serviceTokenCreate, serviceTokenRotate } from './service-token-secret.ts'

const PATH = '/v1/service-tokens'

const shown = (token: ServiceToken): readonly string[] =>
  pairs([
    ['id', token.id],
    ['name', token.name],
    ['client id', token.client_id],
    ['state', token.state],
    ['made', token.created_at],
    ['expires', token.expires_at ?? 'never'],
    ['the secret before is good until', token.previous_until ?? undefined],
  ])

const showCommand = (io: Io): Command =>
  online('show', 'show one', 'service-token show k3v9x2m1q8w7e6r5')
    .argument('<id>', 'as `service-token ls` shows it')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const path = `${PATH}/${encodeURIComponent(id)}`
      const token = await connect(io, options).call<ServiceToken>('GET', path)
      show(io, options, token, () => shown(token))
    })

const revokeCommand = (io: Io): Command =>
  online('revoke', 'end a service token, at once', 'service-token revoke k3v9x2m1q8w7e6r5')
    .argument('<id>', 'as `service-token ls` shows it')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const path = `${PATH}/${encodeURIComponent(id)}/revoke`
      const token = await connect(io, options).call<ServiceToken>('POST', path)
      show(io, options, token, () => [`service token ${token.id} (${token.name}) is ${token.state}`])
    })

export const serviceTokenCommands = (io: Io): Command =>
  group(
    'service-token',
    'service tokens, with which programs without a certificate come to the HTTPS door',
    'service-token ls',
    [
      serviceTokenCreate(io),
      listing('list service tokens', 'service-token ls').action(
        list<ServiceToken>(io, {
          path: PATH,
          heads: ['ID', 'STATE', 'NAME', 'CLIENT ID', 'EXPIRES'],
          row: (token) => [token.id, token.state, token.name, token.client_id, token.expires_at ?? 'never'],
          none: 'No service tokens. Make one: npx sallyport service-token create <name>',
        }),
      ),
      showCommand(io),
      serviceTokenRotate(io),
      revokeCommand(io),
    ],
  )
