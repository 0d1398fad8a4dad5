/** Anchors, applications, policies, rule groups and groups: written, read, removed, each write with its change of version. Not their meaning: #policy/access.ts. */

import type { Rules } from '#fleet/access.ts'
import type { Actor } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import type { AccessKind, AccessValue, Revisioned } from '../registry.ts'
import { createAnchorCrlEnd } from './anchor-crls.ts'
import { rowsToRead, toPage } from './pages.ts'
import { createGroups } from './snapshot.ts'
import type { Tools, Verbs } from './verbs.ts'

type Row = { readonly name: string; readonly revision: number; readonly value: string }

type Writer = { readonly now: number; readonly actor: Actor }

const refuseStale = (ifRevision: number | undefined, current: number | undefined, what: string): void => {
  if (ifRevision !== undefined && ifRevision !== (current ?? 0))
    throw new FleetError('precondition_failed', `${what} has changed since`)
}

export const accessVerbs = ({
  database,
  journal,
  write,
  read,
}: Tools): Verbs<'putAccess' | 'findAccess' | 'listAccess' | 'deleteAccess' | 'applyAccess' | 'groups'> => {
  const find = database.prepare<[AccessKind, string], Row>(
    'select name, revision, value from access where kind = ? and name = ?',
  )
  const list = database.prepare<[AccessKind, string, number], Row>(
    'select name, revision, value from access where kind = ? and name > ? order by name limit ?',
  )
  const store = database.prepare(`
    insert into access (kind, name, revision, application_id, value) values (?, ?, ?, ?, ?)
    on conflict (kind, name) do update set revision = excluded.revision, value = excluded.value`)
  const remove = database.prepare('delete from access where kind = ? and name = ?')
  const idHolder = database
    .prepare<[string], string>('select name from access where application_id = ?')
    .pluck()
  const rise = database
    .prepare<[], number>(
      'update access_version set version = version + 1, stamp = lower(hex(randomblob(16))) returning version',
    )
    .pluck()
  const users = {
    policy: database
      .prepare<[string], string>(
        `select 'application ' || a.name from access a, json_each(a.value, '$.policies') p
         where a.kind = 'application' and p.value = ? order by a.name limit 1`,
      )
      .pluck(),
    rule_group: database
      .prepare<[string], string>(
        `select 'policy ' || a.name from access a, json_each(a.value) part, json_each(part.value) rule
         where a.kind = 'policy' and part.key in ('include', 'require', 'exclude') and rule.value ->> '$.group.id' = ?
         order by a.name limit 1`,
      )
      .pluck(),
  }
  const serviceToken = database.prepare<[string], 1>('select 1 from service_tokens where id = ?')
  const deviceIn = database
    .prepare<[string], string>("select id from devices where group_name = ? and state <> 'retired' limit 1")
    .pluck()
  const tokenOf = database
    .prepare<[string, number], string>(
      'select id from claim_tokens where group_name = ? and revoked_at is null and used < uses and expires_at > ? limit 1',
    )
    .pluck()
  const dangling = database
    .prepare<[string], string>(
      `select p.value from access a, json_each(a.value, '$.policies') p where a.kind = 'application' and a.name = ?
       and not exists (select 1 from access where kind = 'policy' and name = p.value)`,
    )
    .pluck()

  const forgetCrls = createAnchorCrlEnd({ database, journal })

  const revisioned = <K extends AccessKind>(row: Row): Revisioned<AccessValue[K]> => ({
    value: JSON.parse(row.value) as AccessValue[K],
    revision: row.revision,
  })

  /** An application's id is made once: who keeps an `aud` must not find another application behind it. */
  const withStoredId = <K extends AccessKind>(
    value: AccessValue[K],
    stored: Row | undefined,
  ): AccessValue[K] =>
    'id' in value && stored !== undefined
      ? { ...value, id: (JSON.parse(stored.value) as AccessValue['application']).id }
      : value

  /** One change of version for as many values as a transaction writes; none when all are as they were. */
  const versionOnce = (): (() => number) => {
    let version: number | undefined
    return () => {
      if (version === undefined) {
        version = rise.get() ?? 0
        journal.change({ kind: 'access' })
      }
      return version
    }
  }

  const put = <K extends AccessKind>(kind: K, value: AccessValue[K], by: Writer, version: () => number) => {
    const stored = find.get(kind, value.name)
    const kept = withStoredId(value, stored)
    const text = JSON.stringify(kept)
    if (stored?.value === text) return
    const id = 'id' in kept ? kept.id : null
    if (id !== null && stored === undefined && idHolder.get(id) !== undefined)
      throw new FleetError('conflict', 'another application has this id')
    store.run(kind, value.name, version(), id, text)
    journal.audit({
      at: by.now,
      actor: by.actor,
      action: `${kind}.${stored === undefined ? 'created' : 'changed'}`,
      subject: value.name,
    })
  }

  const refuseMembers = (group: string, now: number): void => {
    const device = deviceIn.get(group)
    if (device !== undefined) throw new FleetError('in_use', `device ${device} is in the group ${group}`)
    const token = tokenOf.get(group, now)
    if (token !== undefined) throw new FleetError('in_use', `claim token ${token} is for the group ${group}`)
  }

  const refuseDangling = (application: string): void => {
    const policy = dangling.get(application)
    if (policy !== undefined)
      throw new FleetError(
        'not_found',
        `application ${application} names policy ${policy}, which does not exist`,
      )
  }

  /** @param what whose rules they are */
  const refuseUnknown = (what: string, { include, require, exclude }: Rules): void => {
    for (const rule of [...include, ...require, ...exclude]) {
      if ('group' in rule && find.get('rule_group', rule.group.id) === undefined)
        throw new FleetError('not_found', `${what} names rule group ${rule.group.id}, which does not exist`)
      if ('service_token' in rule && serviceToken.get(rule.service_token.token_id) === undefined)
        throw new FleetError(
          'not_found',
          `${what} names service token ${rule.service_token.token_id}, which does not exist`,
        )
    }
  }

  return {
    groups: createGroups(database, journal.accessChanges),
    putAccess: <K extends AccessKind>(
      kind: K,
      { value, ifRevision, now, actor }: { value: AccessValue[K]; ifRevision?: number | undefined } & Writer,
    ) =>
      write(() => {
        refuseStale(ifRevision, find.get(kind, value.name)?.revision, `${kind} ${value.name}`)
        if ('include' in value) refuseUnknown(`${kind} ${value.name}`, value)
        put(kind, value, { now, actor }, versionOnce())
        if (kind === 'application') refuseDangling(value.name)
        return revisioned<K>(find.get(kind, value.name) as Row)
      }),
    findAccess: <K extends AccessKind>(kind: K, name: string) =>
      read(() => {
        const row = find.get(kind, name)
        return row && revisioned<K>(row)
      }),
    listAccess: <K extends AccessKind>(kind: K, page: { after?: string | undefined; limit: number }) =>
      read(() =>
        toPage(page, list.all(kind, page.after ?? '', rowsToRead(page)), (row) => row.name, revisioned<K>),
      ),
    deleteAccess: (kind, name, { ifRevision, now, actor }) =>
      write(() => {
        const stored = find.get(kind, name)
        refuseStale(ifRevision, stored?.revision, `${kind} ${name}`)
        if (stored === undefined) return false
        const user = kind === 'policy' || kind === 'rule_group' ? users[kind].get(name) : undefined
        if (user !== undefined) throw new FleetError('in_use', `${user} names ${kind} ${name}`)
        if (kind === 'group') refuseMembers(name, now)
        remove.run(kind, name)
        if (kind === 'anchor') forgetCrls(name)
        versionOnce()()
        journal.audit({ at: now, actor, action: `${kind}.deleted`, subject: name })
        return true
      }),
    applyAccess: ({ anchors, applications, policies, ruleGroups = [], groups = [] }, now, actor) =>
      write(() => {
        const version = versionOnce()
        for (const value of anchors) put('anchor', value, { now, actor }, version)
        for (const value of ruleGroups) put('rule_group', value, { now, actor }, version)
        for (const value of policies) put('policy', value, { now, actor }, version)
        for (const value of groups) put('group', value, { now, actor }, version)
        for (const value of applications) put('application', value, { now, actor }, version)
        for (const value of ruleGroups) refuseUnknown(`rule_group ${value.name}`, value)
        for (const value of policies) refuseUnknown(`policy ${value.name}`, value)
        for (const { name } of applications) refuseDangling(name)
      }),
  }
}
