/** `operator token ls`: who may call the operator API. Never the secrets: those are not kept. */

import type { Command } from 'commander'
import type { Operator } from '#wire/rest.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'

export const operatorTokenLs = (io: Io): Command =>
  listing('list operator tokens', 'operator token ls').action(
    list<Operator>(io, {
      path: '/v1/operators',
      heads: ['ID', 'STATE', 'ROLE', 'NAME', 'CREATED'],
      row: (operator) => [operator.id, operator.state, operator.role, operator.name, operator.created_at],
      none: 'No operator tokens.',
    }),
  )
