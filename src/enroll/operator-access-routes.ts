/** Routes of anchors, applications and policies: one table, the same five routes for each kind, and all at once by `apply`. */

import type { AccessKind, AccessValue, Revisioned } from '#registry/registry.ts'
import { FleetError } from '#fleet/errors.ts'
import * as wire from '#wire/rest.ts'
import {
  anchorToWire,
  applicationToWire,
  policyToWire,
  readAnchor,
  readApplication,
  readPolicy,
} from './access-objects.ts'
import { applyFleet, putAccess, removeAccess, type AccessDeps } from './apply-access.ts'
import type { App } from './http-app.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { etagOf, preconditionOf, revisionOf } from './preconditions.ts'

/** `read` gets what `body` has let through. */
type Row<K extends AccessKind> = {
  readonly kind: K
  readonly path: string
  readonly body: wire.TSchema
  readonly stored: wire.TSchema
  readonly read: (name: string, body: unknown, now: number) => AccessValue[K]
  readonly show: (value: AccessValue[K]) => unknown
}

const row = <K extends AccessKind, Body extends wire.TSchema>(
  it: Omit<Row<K>, 'body' | 'read'> & {
    readonly body: Body
    readonly read: (name: string, body: wire.Static<Body>, now: number) => AccessValue[K]
  },
): Row<K> => ({ ...it, read: (name, body, now) => it.read(name, body as wire.Static<Body>, now) })

const ANCHORS = row({
  kind: 'anchor',
  path: '/v1/anchors',
  body: wire.AnchorBody,
  stored: wire.Anchor,
  read: readAnchor,
  show: anchorToWire,
})
const APPLICATIONS = row({
  kind: 'application',
  path: '/v1/applications',
  body: wire.ApplicationBody,
  stored: wire.StoredApplication,
  read: readApplication,
  show: applicationToWire,
})
const POLICIES = row({
  kind: 'policy',
  path: '/v1/policies',
  body: wire.PolicyBody,
  stored: wire.Policy,
  read: readPolicy,
  show: policyToWire,
})

const routesOf = <K extends AccessKind>(
  app: App,
  deps: AccessDeps,
  { kind, path, body, stored, read, show }: Row<K>,
): void => {
  const { registry, clock } = deps
  const one = `${path}/:name`
  const shown = ({ value, revision }: Revisioned<AccessValue[K]>) => ({
    etag: etagOf(revision),
    body: show(value),
  })

  app.get(
    path,
    {
      config: { role: 'viewer' },
      schema: {
        summary: `Every ${kind}, by name`,
        querystring: wire.PageQuery,
        response: { 200: wire.listOf(stored) },
      },
    },
    async ({ query: { after, limit = 100 } }) => {
      const { items, next } = await registry.listAccess(kind, { after, limit })
      return { items: items.map(({ value }) => show(value)), next: next ?? null }
    },
  )

  app.get(
    one,
    {
      config: { role: 'viewer' },
      schema: { summary: `One ${kind}`, params: wire.NameParams, response: { 200: stored } },
    },
    async (request, reply) => {
      const { name } = request.params
      const found = await registry.findAccess(kind, name)
      if (found === undefined) throw new FleetError('not_found', `no such ${kind}`)
      const it = shown(found)
      return reply.header('etag', it.etag).send(it.body)
    },
  )

  app.put(
    one,
    {
      config: { role: 'admin' },
      schema: {
        summary: `Makes or replaces one ${kind}`,
        headers: wire.ConditionalHeaders,
        params: wire.NameParams,
        body,
        response: { 200: stored, 201: stored },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      const value = read(name, request.body, clock())
      const put = await putAccess(deps, kind, value, preconditionOf(request.headers), actorOf(request))
      const it = shown(put)
      return reply
        .code(put.created ? 201 : 200)
        .header('etag', it.etag)
        .send(it.body)
    },
  )

  app.delete(
    one,
    {
      config: { role: 'admin' },
      schema: {
        summary: `Removes one ${kind}`,
        headers: wire.ConditionalHeaders,
        params: wire.NameParams,
        response: { 204: wire.Nothing },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      await removeAccess(deps, kind, name, revisionOf(request.headers['if-match']), actorOf(request))
      return reply.code(204).send(null)
    },
  )
}

export const accessRoutes = (app: App, deps: OperatorApiDeps & AccessDeps): void => {
  routesOf(app, deps, ANCHORS)
  routesOf(app, deps, APPLICATIONS)
  routesOf(app, deps, POLICIES)

  app.post(
    '/v1/apply',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Anchors, applications and policies, all or none; what is not named stays as it is',
        body: wire.Fleet,
        response: { 204: wire.Nothing },
      },
    },
    async (request, reply) => {
      await applyFleet(deps, request.body, actorOf(request))
      return reply.code(204).send(null)
    },
  )
}
