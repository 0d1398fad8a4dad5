/** Routes of service tokens: made, listed, shown, rotated, revoked. A secret is in the answer that it was made for and in no other. */

import type { ServiceToken } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import * as wire from '#wire/access-credentials.ts'
import * as rest from '#wire/rest.ts'
import { answerOnce } from './answer-once.ts'
import type { Created } from './create-token.ts'
import type { App } from './http-app.ts'
import type { Once } from './idempotency.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { etagOf, revisionOf } from './preconditions.ts'
import { createServiceToken, rotateServiceToken, serviceTokenState } from './service-tokens.ts'
import { instant, instantOrNull } from './wire-time.ts'

const toWire = (token: ServiceToken, now: number): wire.ServiceToken => {
  const { previous } = token
  return {
    id: token.id,
    name: token.name,
    client_id: token.clientId,
    created_at: instant(token.createdAt),
    expires_at: instantOrNull(token.expiresAt),
    previous_until: previous !== undefined && previous.until > now ? instant(previous.until) : null,
    state: serviceTokenState(token, now),
  }
}

const withSecret = ({ token, text }: Created<ServiceToken>, now: number): wire.ServiceTokenSecret => ({
  ...toWire(token, now),
  client_secret: text,
})

const noSuchToken = (): FleetError => new FleetError('not_found', 'no such service token')

export const serviceTokenRoutes = (app: App, deps: OperatorApiDeps & { readonly once: Once }): void => {
  const { registry, clock, once } = deps

  const find = async (id: string): Promise<ServiceToken> => {
    const token = await registry.findServiceToken(id)
    if (token === undefined) throw noSuchToken()
    return token
  }

  app.post(
    '/v1/service-tokens',
    {
      config: { role: 'admin', creates: true },
      schema: {
        summary: 'A service token, for a program that has no certificate',
        headers: rest.IdempotentHeaders,
        body: wire.ServiceTokenCreate,
        response: { 201: wire.ServiceTokenSecret },
      },
    },
    async (request, reply) => {
      const make = async (): Promise<wire.ServiceTokenSecret> =>
        withSecret(await createServiceToken(deps, request.body, actorOf(request)), clock())
      return reply.code(201).send(await answerOnce(once, request, reply, make))
    },
  )

  app.get(
    '/v1/service-tokens',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Service tokens, oldest first',
        querystring: rest.PageQuery,
        response: { 200: rest.listOf(wire.ServiceToken) },
      },
    },
    async ({ query: { after, limit = 100 } }) => {
      const now = clock()
      const { items, next } = await registry.listServiceTokens({ after, limit })
      return { items: items.map((token) => toWire(token, now)), next: next ?? null }
    },
  )

  app.get(
    '/v1/service-tokens/:id',
    {
      config: { role: 'viewer' },
      schema: { summary: 'A service token', params: rest.IdParams, response: { 200: wire.ServiceToken } },
    },
    async ({ params: { id } }, reply) => {
      const token = await find(id)
      return reply.header('etag', etagOf(token.revision)).send(toWire(token, clock()))
    },
  )

  app.post(
    '/v1/service-tokens/:id/rotate',
    {
      // a secret is made: who asks again with the same Idempotency-Key gets the same one
      config: { role: 'admin', creates: true },
      schema: {
        summary: 'A service token gets a new secret; the one before stays good for `grace`',
        headers: wire.ChangedOnceHeaders,
        params: rest.IdParams,
        body: wire.ServiceTokenRotate,
        response: { 201: wire.ServiceTokenSecret },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const make = async (): Promise<wire.ServiceTokenSecret> => {
        const ifRevision = revisionOf(request.headers['if-match'])
        const made = await rotateServiceToken(deps, { id, ifRevision, ...request.body }, actorOf(request))
        return withSecret(made, clock())
      }
      return reply.code(201).send(await answerOnce(once, request, reply, make))
    },
  )

  app.post(
    '/v1/service-tokens/:id/revoke',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'A service token ends, at the next request',
        headers: rest.ConditionalHeaders,
        params: rest.IdParams,
        body: rest.NoBody,
        response: { 200: wire.ServiceToken },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const now = clock()
      const ifRevision = revisionOf(request.headers['if-match'])
      const token = await registry.revokeServiceToken({ id, ifRevision, now, actor: actorOf(request) })
      if (token === undefined) throw noSuchToken()
      return reply.header('etag', etagOf(token.revision)).send(toWire(token, now))
    },
  )
}
