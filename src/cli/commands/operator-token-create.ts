/** `operator token create`: for a colleague, over the API; with --offline, on the registry file, when every token was lost. */

import { Option, type Command } from 'commander'
import { ROLES, type Role } from '#fleet/credentials.ts'
import type { OperatorCreate, OperatorCreated } from '#wire/rest.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { createOperatorToken, saveOperatorToken } from '../offline/operator-token.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'
import { readConfig } from '../settings.ts'

type Options = Online & {
  readonly name: string
  readonly role: Role
  readonly offline?: boolean
  readonly save?: boolean
}

const make = (io: Io, options: Options): Promise<OperatorCreated> => {
  const { name, role } = options
  if (options.offline)
    return createOperatorToken({ config: readConfig(io, options), clock: io.clock, name, role })
  const body: OperatorCreate = { name, role }
  return connect(io, options).call('POST', '/v1/operators', { body })
}

export const operatorTokenCreate = (io: Io): Command =>
  online('create', 'make an operator token', 'operator token create --name alice --role operator')
    .option('--name <name>', 'whose it is', 'operator')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).default('admin'))
    .option('--offline', 'write to the registry file: needs no token, works with and without a running desk')
    .option('--save', 'also keep it in certs/private/operator.token, where every command looks')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const made = await make(io, options)
      const saved = options.save ? saveOperatorToken(readConfig(io, options), made.token) : undefined
      show(io, options, made, () =>
        pairs([
          ['token', made.token],
          ['id', made.id],
          ['name', made.name],
          ['role', made.role],
          ['kept in', saved],
          ['', saved === undefined ? 'It is not shown again.' : undefined],
        ]),
      )
    })
