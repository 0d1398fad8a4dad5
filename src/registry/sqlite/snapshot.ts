/** Anchors, applications, policies and rule groups, and groups, as objects that stay the same until one of them changes. Not the verbs that change them. */

import type { AccessSnapshot, Anchor, Application, Policy, RuleGroup } from '#fleet/access.ts'
import { FIRST_GROUP, GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { AccessKind } from '../registry.ts'
import type { Handle } from './handle.ts'

/** @returns a function that throws SqliteError; one cheap select a call while nothing has changed, none for who knows the stamp */
export const createSnapshots = (database: Handle): ((stampNow?: string) => AccessSnapshot) => {
  const stamp = database.prepare<[], string>('select stamp from access_version').pluck()
  const version = database.prepare<[], number>('select version from access_version').pluck()
  const valuesOf = database
    .prepare<[AccessKind], string>('select value from access where kind = ? order by name')
    .pluck()

  const read = <T>(kind: AccessKind): readonly T[] => valuesOf.all(kind).map((json) => JSON.parse(json) as T)

  const take = database.transaction(() => ({
    stamp: stamp.get(),
    snapshot: {
      version: version.get() ?? 0,
      anchors: read<Anchor>('anchor'),
      applications: read<Application>('application'),
      policies: read<Policy>('policy'),
      ruleGroups: read<RuleGroup>('rule_group'),
    },
  }))

  let kept: ReturnType<typeof take> | undefined
  return (stampNow) => {
    if (kept === undefined || kept.stamp !== (stampNow ?? stamp.get())) kept = take()
    return kept.snapshot
  }
}

type Groups = ReadonlyMap<string, EnrollmentGroup>

/** With the one that is always there. */
const createGroupsTaking = (database: Handle): (() => Groups) => {
  const values = database
    .prepare<[], string>("select value from access where kind = 'group' order by name")
    .pluck()
  return () =>
    new Map(
      [
        { ...GROUP_DEFAULTS, name: FIRST_GROUP },
        ...values.all().map((json): EnrollmentGroup => ({ ...GROUP_DEFAULTS, ...JSON.parse(json) })),
      ].map((group) => [group.name, group]),
    )
}

/** @returns a function that throws SqliteError; as {@link createSnapshots}' */
export const createGroupsReader = (database: Handle): ((stampNow?: string) => Groups) => {
  const stamp = database.prepare<[], string>('select stamp from access_version').pluck()
  const groups = createGroupsTaking(database)
  const take = database.transaction(() => ({ stamp: stamp.get(), groups: groups() }))
  let kept: ReturnType<typeof take> | undefined
  return (stampNow) => {
    if (kept === undefined || kept.stamp !== (stampNow ?? stamp.get())) kept = take()
    return kept.groups
  }
}

/**
 * For the one process that writes groups, and knows when it has.
 * @param changes rises when access may have changed
 * @returns a function that throws SqliteError
 */
export const createGroups = (database: Handle, changes: () => number): (() => Groups) => {
  const groups = createGroupsTaking(database)
  const take = () => ({ at: changes(), groups: groups() })
  let kept: ReturnType<typeof take> | undefined
  return () => {
    if (kept === undefined || kept.at !== changes()) kept = take()
    return kept.groups
  }
}
