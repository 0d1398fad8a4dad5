/** `token ls`: claim tokens and what is left of them. Never the secrets: those are not kept. */

import type { Command } from 'commander'
import type { Token } from '#wire/rest.ts'
import { list, listing } from '../list.ts'
import type { Io } from '../io.ts'

export const tokenLs = (io: Io): Command =>
  listing('list claim tokens', 'token ls').action(
    list<Token>(io, {
      path: '/v1/tokens',
      heads: ['ID', 'STATE', 'GROUP', 'DEVICE', 'USED', 'EXPIRES'],
      row: (token) => [
        token.id,
        token.state,
        token.group,
        token.device_id ?? '-',
        `${token.used}/${token.uses}`,
        token.expires_at,
      ],
      none: 'No claim tokens. Make one: npx sallyport token create',
    }),
  )
