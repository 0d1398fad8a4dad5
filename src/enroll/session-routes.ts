/** The route that ends sessions, and those of the keys that sign them: listed, rotated. */

import * as wire from '#wire/access-credentials.ts'
import * as rest from '#wire/rest.ts'
import { answerOnce } from './answer-once.ts'
import type { KeyLife } from './assertion-keys.ts'
import type { App } from './http-app.ts'
import type { Once } from './idempotency.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { revokeSessions } from './revoke-sessions.ts'
import { instant, instantOrNull } from './wire-time.ts'

const keyToWire = ({ key, rotatesAt, retiresAt }: KeyLife): wire.SigningKey => ({
  kid: key.kid,
  algorithm: key.algorithm,
  signs: retiresAt === undefined,
  created_at: instant(key.createdAt),
  rotates_at: instantOrNull(rotatesAt),
  retires_at: instantOrNull(retiresAt),
})

export const sessionRoutes = (app: App, deps: OperatorApiDeps & { readonly once: Once }): void => {
  const { signingKeys, once } = deps

  app.post(
    '/v1/sessions/revoke',
    {
      config: { role: 'operator' },
      schema: {
        summary:
          'Sessions end: one, those of a device, of an application, or all. A good certificate begins a new one',
        body: wire.SessionsRevoke,
        response: { 200: wire.SessionsRevoked },
      },
    },
    async (request) => {
      const { scope, before, expiresAt } = await revokeSessions(deps, request.body, actorOf(request))
      request.logged['scope'] = scope
      return {
        scope,
        subject: request.body.subject ?? null,
        before: instant(before),
        expires_at: instant(expiresAt),
      }
    },
  )

  app.get(
    '/v1/signing-keys',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Keys of assertions and session tokens, oldest first; the last one signs',
        querystring: rest.PageQuery,
        response: { 200: rest.listOf(wire.SigningKey) },
      },
    },
    // a handful: all of them on the first page
    async ({ query: { after } }) => ({
      items: after === undefined ? (await signingKeys.list()).map(keyToWire) : [],
      next: null,
    }),
  )

  app.post(
    '/v1/signing-keys/rotate',
    {
      config: { role: 'admin', creates: true },
      schema: {
        summary: 'A new key signs in five minutes, with `discard` at once',
        headers: rest.IdempotentHeaders,
        body: wire.SigningKeyRotate,
        response: { 201: wire.SigningKey },
      },
    },
    async (request, reply) => {
      const discard = request.body?.discard === true
      const make = async (): Promise<wire.SigningKey> =>
        keyToWire(await signingKeys.rotate({ discard }, actorOf(request)))
      return reply.code(201).send(await answerOnce(once, request, reply, make))
    },
  )
}
