/** A route that makes something, as all of them answer: 201, and the same again for a repeated Idempotency-Key. Not the keeping: idempotency.ts. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { OperatorToken } from '#fleet/credentials.ts'
import { answerKeyOf, bearerOf } from './credentials.ts'
import type { Once } from './idempotency.ts'
import { actorOf } from './operator-deps.ts'

type Asked = Pick<FastifyRequest, 'method' | 'routeOptions' | 'params' | 'body'> & {
  readonly operator: OperatorToken | undefined
  readonly headers: {
    readonly authorization?: string | undefined
    readonly 'idempotency-key'?: string | undefined
  }
}

/** @returns what `make` gave, now or the first time that this was asked. @throws FleetError `idempotency_mismatch`, and what `make` throws */
export const answerOnce = async <T>(
  once: Once,
  request: Asked,
  reply: Pick<FastifyReply, 'header'>,
  make: () => Promise<T>,
): Promise<T> => {
  const answer = await once(
    {
      scope: `${actorOf(request)} ${request.method} ${request.routeOptions.url ?? ''}`,
      key: request.headers['idempotency-key'],
      request: JSON.stringify([request.params, request.body]),
      sealingKey: answerKeyOf(bearerOf(request.headers.authorization) ?? ''),
    },
    async () => ({ status: 201, body: await make() }),
  )
  if (answer.replayed) reply.header('idempotency-replayed', 'true')
  return answer.body as T
}
