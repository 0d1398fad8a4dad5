/** Routes of claim tokens and operator tokens: made, listed, shown, revoked. A secret is in the answer to its making and in no other. */

import type { ClaimToken, OperatorToken } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { judgeToken } from '#policy/enrollment.ts'
import * as wire from '#wire/rest.ts'
import { answerOnce } from './answer-once.ts'
import { createOperatorToken, createToken } from './create-token.ts'
import type { App } from './http-app.ts'
import type { Once } from './idempotency.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { checkIfMatch, etagOfBody } from './preconditions.ts'
import { instant } from './wire-time.ts'

const tokenState = (token: ClaimToken, now: number): wire.Token['state'] => {
  const refusal = judgeToken(token, now)
  if (refusal !== undefined) return refusal === 'token_revoked' ? 'revoked' : 'expired'
  return token.used >= token.uses ? 'spent' : 'usable'
}

const tokenToWire = (token: ClaimToken, now: number): wire.Token => ({
  id: token.id,
  device_id: token.deviceId ?? null,
  group: token.group,
  uses: token.uses,
  used: token.used,
  expires_at: instant(token.expiresAt),
  created_at: instant(token.createdAt),
  cert_ttl_seconds: token.certificateTtl === undefined ? null : Math.floor(token.certificateTtl / 1_000),
  state: tokenState(token, now),
})

const operatorToWire = ({ id, name, role, createdAt, revokedAt }: OperatorToken): wire.Operator => ({
  id,
  name,
  role,
  created_at: instant(createdAt),
  state: revokedAt === undefined ? 'usable' : 'revoked',
})

const orMissing = <T>(thing: T | undefined, what: string): T => {
  if (thing === undefined) throw new FleetError('not_found', `no such ${what}`)
  return thing
}

export const tokenRoutes = (app: App, deps: OperatorApiDeps & { readonly once: Once }): void => {
  const { registry, clock, once } = deps

  app.post(
    '/v1/tokens',
    {
      config: { role: 'operator', creates: true },
      schema: {
        summary: 'A claim token for one or more devices',
        headers: wire.IdempotentHeaders,
        body: wire.TokenCreate,
        response: { 201: wire.TokenCreated },
      },
    },
    async (request, reply) => {
      const make = async (): Promise<wire.TokenCreated> => {
        const rootSha256 = deps.rootSha256()
        const { token, text } = await createToken(deps, { ...request.body, rootSha256 }, actorOf(request))
        return {
          token: text,
          id: token.id,
          device_id: token.deviceId ?? null,
          group: token.group,
          uses: token.uses,
          expires_at: instant(token.expiresAt),
          enroll_url: deps.enrollUrl,
          root_sha256: rootSha256,
        }
      }
      return reply.code(201).send(await answerOnce(once, request, reply, make))
    },
  )

  app.get(
    '/v1/tokens',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Claim tokens, oldest first',
        querystring: wire.PageQuery,
        response: { 200: wire.listOf(wire.Token) },
      },
    },
    async ({ query: { after, limit = 100 } }) => {
      const now = clock()
      const { items, next } = await registry.listTokens({ after, limit })
      return { items: items.map((token) => tokenToWire(token, now)), next: next ?? null }
    },
  )

  app.get(
    '/v1/tokens/:id',
    {
      config: { role: 'viewer' },
      schema: { summary: 'A claim token', params: wire.IdParams, response: { 200: wire.Token } },
    },
    async ({ params: { id } }, reply) => {
      const body = tokenToWire(orMissing(await registry.findToken(id), 'claim token'), clock())
      return reply.header('etag', etagOfBody(body)).send(body)
    },
  )

  app.post(
    '/v1/tokens/:id/revoke',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'A claim token ends; certificates that it gave stay',
        headers: wire.ConditionalHeaders,
        params: wire.IdParams,
        body: wire.NoBody,
        response: { 200: wire.Token },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const now = clock()
      const before = tokenToWire(orMissing(await registry.findToken(id), 'claim token'), now)
      checkIfMatch(request.headers['if-match'], etagOfBody(before))
      const token = orMissing(await registry.revokeToken(id, now, actorOf(request)), 'claim token')
      const body = tokenToWire(token, now)
      return reply.header('etag', etagOfBody(body)).send(body)
    },
  )

  app.post(
    '/v1/operators',
    {
      config: { role: 'admin', creates: true },
      schema: {
        summary: 'An operator token',
        headers: wire.IdempotentHeaders,
        body: wire.OperatorCreate,
        response: { 201: wire.OperatorCreated },
      },
    },
    async (request, reply) => {
      const make = async (): Promise<wire.OperatorCreated> => {
        const { token, text } = await createOperatorToken(deps, request.body, actorOf(request))
        return { token: text, id: token.id, name: token.name, role: token.role }
      }
      return reply.code(201).send(await answerOnce(once, request, reply, make))
    },
  )

  app.get(
    '/v1/operators',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Operator tokens, oldest first',
        querystring: wire.PageQuery,
        response: { 200: wire.listOf(wire.Operator) },
      },
    },
    async ({ query: { after, limit = 100 } }) => {
      const { items, next } = await registry.listOperatorTokens({ after, limit })
      return { items: items.map(operatorToWire), next: next ?? null }
    },
  )

  app.get(
    '/v1/operators/:id',
    {
      config: { role: 'viewer' },
      schema: { summary: 'An operator token', params: wire.IdParams, response: { 200: wire.Operator } },
    },
    async ({ params: { id } }, reply) => {
      const body = operatorToWire(orMissing(await registry.findOperatorToken(id), 'operator token'))
      return reply.header('etag', etagOfBody(body)).send(body)
    },
  )

  app.post(
    '/v1/operators/:id/revoke',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'An operator token ends',
        headers: wire.ConditionalHeaders,
        params: wire.IdParams,
        body: wire.NoBody,
        response: { 200: wire.Operator },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const before = operatorToWire(orMissing(await registry.findOperatorToken(id), 'operator token'))
      checkIfMatch(request.headers['if-match'], etagOfBody(before))
      const revoked = await registry.revokeOperatorToken(id, clock(), actorOf(request))
      const body = operatorToWire(orMissing(revoked, 'operator token'))
      return reply.header('etag', etagOfBody(body)).send(body)
    },
  )
}
