/** Routes of anchors, applications, policies, rule groups and groups: one table, the same routes for each kind, and all at once by `apply`. */

import type { Paged } from '#registry/page.ts'
import type { AccessKind, AccessValue, Revisioned } from '#registry/registry.ts'
import { FIRST_GROUP, GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import * as access from '#wire/access.ts'
import * as groups from '#wire/groups.ts'
import * as wire from '#wire/rest.ts'
import { anchorToWire, readAnchor } from './access/anchors.ts'
import { applicationToWire, readApplication } from './access/applications.ts'
import { NOTES, type Surroundings } from './access/notes.ts'
import { policyToWire, readPolicy, readRuleGroup, ruleGroupToWire } from './access/policies.ts'
import { applyFleet, putAccess, removeAccess, surroundingsOf, type AccessDeps } from './apply-access.ts'
import { groupToWire, readGroup } from './group-objects.ts'
import type { App } from './http-app.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { etagOf, preconditionOf, revisionOf } from './preconditions.ts'

type Context = { readonly now: number; readonly webhooksReady: boolean }

/** `read` gets what `body` has let through. `unwritten`: one that is there before anybody writes it, as its revision 0. */
type Row<K extends AccessKind> = {
  readonly kind: K
  readonly path: string
  readonly body: wire.TSchema
  readonly stored: wire.TSchema
  /** what a PUT answers */
  readonly put: wire.TSchema
  readonly read: (name: string, body: unknown, context: Context) => AccessValue[K]
  readonly show: (value: AccessValue[K]) => object
  /** what `put` says beside it */
  readonly notes?: (value: AccessValue[K], around: Surroundings) => readonly string[]
  readonly unwritten?: AccessValue[K]
}

const row = <K extends AccessKind, Body extends wire.TSchema>(
  it: Omit<Row<K>, 'body' | 'read'> & {
    readonly body: Body
    readonly read: (name: string, body: wire.Static<Body>, context: Context) => AccessValue[K]
  },
): Row<K> => ({ ...it, read: (name, body, context) => it.read(name, body as wire.Static<Body>, context) })

const ANCHORS = row({
  kind: 'anchor',
  path: '/v1/anchors',
  body: access.AnchorBody,
  stored: access.Anchor,
  put: wire.noted(access.Anchor),
  read: (name, body, { now }) => readAnchor(name, body, now),
  show: anchorToWire,
  notes: NOTES.anchor,
})
const APPLICATIONS = row({
  kind: 'application',
  path: '/v1/applications',
  body: access.ApplicationBody,
  stored: access.StoredApplication,
  put: wire.noted(access.StoredApplication),
  read: (name, body, { now }) => readApplication(name, body, now),
  show: applicationToWire,
  notes: NOTES.application,
})
const POLICIES = row({
  kind: 'policy',
  path: '/v1/policies',
  body: access.PolicyBody,
  stored: access.Policy,
  put: wire.noted(access.Policy),
  read: readPolicy,
  show: policyToWire,
  notes: NOTES.policy,
})
const RULE_GROUPS = row({
  kind: 'rule_group',
  path: '/v1/rule-groups',
  body: access.RuleGroupBody,
  stored: access.RuleGroup,
  put: wire.noted(access.RuleGroup),
  read: readRuleGroup,
  show: ruleGroupToWire,
  notes: NOTES.rule_group,
})
const GROUPS = row({
  kind: 'group',
  path: '/v1/groups',
  body: groups.GroupBody,
  stored: groups.StoredGroup,
  put: groups.StoredGroup,
  read: readGroup,
  // what was written before a field came to be says nothing of it
  show: (group) => groupToWire({ ...GROUP_DEFAULTS, ...group }),
  unwritten: { ...GROUP_DEFAULTS, name: FIRST_GROUP },
})

const routesOf = <K extends AccessKind>(
  app: App,
  deps: AccessDeps,
  { kind, path, body, stored, put: answer, read, show, notes, unwritten }: Row<K>,
): void => {
  const { registry, clock, webhooksReady } = deps
  const one = `${path}/:name`
  const called = kind.replace('_', ' ')
  const shown = ({ value, revision }: Revisioned<AccessValue[K]>) => ({
    etag: etagOf(revision),
    body: show(value),
  })
  const find = async (name: string): Promise<Revisioned<AccessValue[K]> | undefined> =>
    (await registry.findAccess(kind, name)) ??
    (unwritten?.name === name ? { value: unwritten, revision: 0 } : undefined)
  const list = async (
    after: string | undefined,
    limit: number,
  ): Promise<Paged<Revisioned<AccessValue[K]>>> => {
    const page = await registry.listAccess(kind, { after, limit })
    if (unwritten === undefined || (await registry.findAccess(kind, unwritten.name)) !== undefined)
      return page
    const { name } = unwritten
    const isHere = name > (after ?? '') && (page.next === undefined || name < page.next)
    if (!isHere) return page
    const all = [...page.items, { value: unwritten, revision: 0 }].toSorted((a, b) =>
      a.value.name < b.value.name ? -1 : 1,
    )
    const items = all.slice(0, limit)
    return { items, next: all.length > items.length ? items.at(-1)?.value.name : page.next }
  }

  app.get(
    path,
    {
      config: { role: 'viewer' },
      schema: {
        summary: `Every ${called}, by name`,
        querystring: wire.PageQuery,
        response: { 200: wire.listOf(stored) },
      },
    },
    async ({ query: { after, limit = 100 } }) => {
      const { items, next } = await list(after, limit)
      return { items: items.map(({ value }) => show(value)), next: next ?? null }
    },
  )

  app.get(
    one,
    {
      config: { role: 'viewer' },
      schema: { summary: `One ${called}`, params: wire.NameParams, response: { 200: stored } },
    },
    async (request, reply) => {
      const { name } = request.params
      const found = await find(name)
      if (found === undefined) throw new FleetError('not_found', `no such ${called}`)
      const it = shown(found)
      return reply.header('etag', it.etag).send(it.body)
    },
  )

  app.put(
    one,
    {
      config: { role: 'admin' },
      schema: {
        summary: `Makes or replaces one ${called}`,
        headers: wire.ConditionalHeaders,
        params: wire.NameParams,
        body,
        response: { 200: answer, 201: answer },
      },
    },
    async (request, reply) => {
      const { name } = request.params
      const value = read(name, request.body, { now: clock(), webhooksReady })
      const before = deps.registry.access()
      const put = await putAccess(deps, kind, value, preconditionOf(request.headers), actorOf(request))
      const it = shown(put)
      return reply
        .code(put.created ? 201 : 200)
        .header('etag', it.etag)
        .send(
          notes === undefined
            ? it.body
            : { ...it.body, notes: [...notes(put.value, surroundingsOf(deps, before))] },
        )
    },
  )

  app.delete(
    one,
    {
      config: { role: 'admin' },
      schema: {
        summary: `Removes one ${called}`,
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
  routesOf(app, deps, RULE_GROUPS)
  routesOf(app, deps, GROUPS)

  app.post(
    '/v1/apply',
    {
      config: { role: 'admin' },
      schema: {
        summary:
          'Anchors, applications, policies, rule groups and groups, all or none; what is not named stays as it is',
        body: access.Fleet,
        response: { 200: access.Applied },
      },
    },
    async (request) => ({ notes: [...(await applyFleet(deps, request.body, actorOf(request)))] }),
  )
}
