/**
 * USE CASES: anchors, applications, policies, rule groups and groups are put, removed, or applied all at once. What two applications would
 * both answer is refused, for a request must have one policy, and so are a CA in two anchors of one hostname and an EST label of two
 * groups. Changes are made one after the other, so that two that fit alone cannot collide together.
 */

import type { Anchor, Application } from '#fleet/access.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import { FIRST_GROUP, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { claimsOf, contestsOf, type Contest } from '#policy/access.ts'
import type { AccessKind, AccessValue, Registry, Revisioned } from '#registry/registry.ts'
import type { Fleet } from '#wire/access.ts'
import { checkAnchors, readAnchor } from './access/anchors.ts'
import { readApplication } from './access/applications.ts'
import { NOTES, type Surroundings } from './access/notes.ts'
import { readPolicy, readRuleGroup } from './access/policies.ts'
import { readGroup } from './group-objects.ts'
import { bad, within } from './reading.ts'
import type { Serially } from './serially.ts'

export type AccessDeps = {
  readonly registry: Registry
  readonly clock: Clock
  readonly serially: Serially
  /** is there a secret that calls of webhooks are signed with? */
  readonly webhooksReady: boolean
}

/** `ifRevision`: 0 when it must not exist yet. `mustExist`: at any revision. */
export type Precondition = {
  readonly ifRevision?: number | undefined
  readonly mustExist?: boolean | undefined
}

const checkClaims = (applications: readonly Application[]): void => {
  const claimed = new Map<string, string>()
  for (const application of applications) {
    for (const claim of claimsOf(application)) {
      const other = claimed.get(claim)
      if (other !== undefined && other !== application.name) {
        throw new FleetError(
          'conflict',
          `the applications ${other} and ${application.name} would both answer ${claim}`,
        )
      }
      claimed.set(claim, application.name)
    }
  }
}

/** What is stored, with `changed` in place of its namesakes. */
const afterwards = <T extends { readonly name: string }>(
  stored: readonly T[],
  changed: readonly T[],
): T[] => {
  const names = new Set(changed.map(({ name }) => name))
  return [...stored.filter(({ name }) => !names.has(name)), ...changed]
}

/** @throws FleetError `conflict`; `not_found` when one names a policy that would not exist */
const checkApplications = (
  { registry }: AccessDeps,
  changed: readonly Application[],
  policies: ReadonlySet<string>,
): void => {
  for (const application of changed) {
    const missing = application.policies.find((name) => !policies.has(name))
    if (missing !== undefined) {
      throw new FleetError('not_found', `application ${application.name}: there is no policy ${missing}`)
    }
  }
  checkClaims(afterwards(registry.access().applications, changed))
}

/** @throws FleetError `conflict` */
const checkLabels = ({ registry }: AccessDeps, changed: readonly EnrollmentGroup[]): void => {
  const owners = new Map<string, string>()
  for (const { name, estLabels } of afterwards([...registry.groups().values()], changed)) {
    for (const label of estLabels) {
      const other = owners.get(label)
      if (other !== undefined)
        throw new FleetError('conflict', `the groups ${other} and ${name} both have the EST label ${label}`)
      owners.set(label, name)
    }
  }
}

/** What {@link Surroundings} are now. @throws FleetError `registry_unavailable` */
export const surroundingsOf = (
  { registry, clock }: AccessDeps,
  before: Surroundings['before'],
): Surroundings => {
  const access = registry.access()
  let contests: readonly Contest[] | undefined
  return {
    access,
    before,
    groups: new Set(registry.groups().keys()),
    now: clock(),
    contests: () => (contests ??= contestsOf(access.applications).contests),
  }
}

/** It is there before anybody writes it. */
const isFirstGroup = (kind: AccessKind, name: string): boolean => kind === 'group' && name === FIRST_GROUP

const policyNames = ({ registry }: AccessDeps): Set<string> =>
  new Set(registry.access().policies.map(({ name }) => name))

/**
 * @returns the stored value, and whether it is new
 * @throws FleetError `precondition_failed`, `conflict`, `not_found`, `registry_unavailable`
 */
export const putAccess = async <K extends AccessKind>(
  deps: AccessDeps,
  kind: K,
  value: AccessValue[K],
  precondition: Precondition,
  actor: Actor,
): Promise<Revisioned<AccessValue[K]> & { readonly created: boolean }> =>
  deps.serially(async () => {
    const before = await deps.registry.findAccess(kind, value.name)
    const isNew = before === undefined && !isFirstGroup(kind, value.name)
    if (isNew && (precondition.mustExist ?? false)) {
      throw new FleetError('precondition_failed', 'it does not exist')
    }
    if (kind === 'anchor') checkAnchors(deps.registry.access().anchors, [value as Anchor])
    if (kind === 'application') checkApplications(deps, [value as Application], policyNames(deps))
    if (kind === 'group') checkLabels(deps, [value as EnrollmentGroup])
    const stored = await deps.registry.putAccess(kind, {
      value,
      ifRevision: precondition.ifRevision,
      now: deps.clock(),
      actor,
    })
    return { ...stored, created: isNew }
  })

/** @throws FleetError `not_found`, `in_use`, `conflict` (the first group), `precondition_failed`, `registry_unavailable` */
export const removeAccess = async (
  { registry, clock, serially }: AccessDeps,
  kind: AccessKind,
  name: string,
  ifRevision: number | undefined,
  actor: Actor,
): Promise<void> => {
  if (isFirstGroup(kind, name))
    throw new FleetError(
      'conflict',
      `the group ${name} can be changed, not removed: who is in no other is in it`,
    )
  const found = await serially(() => registry.deleteAccess(kind, name, { ifRevision, now: clock(), actor }))
  if (!found) throw new FleetError('not_found', `no such ${kind.replace('_', ' ')}`)
}

const namesOnce = (where: string, things: readonly { readonly name: string }[]): void => {
  const names = things.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) < at)
  if (twice !== undefined) throw bad(where, `${twice} is there twice`)
}

/**
 * All of it takes effect, or none.
 * @returns what follows from it that may not have been meant, for people
 * @throws FleetError: what is wrong and where; `conflict`, `not_found`, `registry_unavailable`
 */
export const applyFleet = async (
  deps: AccessDeps,
  fleet: Fleet,
  actor: Actor,
): Promise<readonly string[]> => {
  const now = deps.clock()
  const { anchors = [], applications = [], policies = [], rule_groups: ruleGroups = [], groups = [] } = fleet
  namesOnce('anchors', anchors)
  namesOnce('applications', applications)
  namesOnce('policies', policies)
  namesOnce('rule_groups', ruleGroups)
  namesOnce('groups', groups)
  const values = {
    anchors: anchors.map((body) => within(`anchor ${body.name}`, () => readAnchor(body.name, body, now))),
    applications: applications.map((body) =>
      within(`application ${body.name}`, () => readApplication(body.name, body, now)),
    ),
    policies: policies.map((body) => within(`policy ${body.name}`, () => readPolicy(body.name, body))),
    ruleGroups: ruleGroups.map((body) =>
      within(`rule group ${body.name}`, () => readRuleGroup(body.name, body)),
    ),
    groups: groups.map((body) =>
      within(`group ${body.name}`, () => readGroup(body.name, body, { ...deps, now })),
    ),
  }
  const before = deps.registry.access()
  await deps.serially(async () => {
    const names = policyNames(deps)
    for (const { name } of values.policies) names.add(name)
    checkAnchors(deps.registry.access().anchors, values.anchors)
    checkApplications(deps, values.applications, names)
    checkLabels(deps, values.groups)
    await deps.registry.applyAccess(values, now, actor)
  })
  const around = surroundingsOf(deps, before)
  const told = (where: string, notes: readonly string[]): string[] => notes.map((note) => `${where}: ${note}`)
  return [
    ...values.anchors.flatMap((it) => told(`anchor ${it.name}`, NOTES.anchor(it, around))),
    ...values.applications.flatMap((it) => told(`application ${it.name}`, NOTES.application(it, around))),
    ...values.policies.flatMap((it) => told(`policy ${it.name}`, NOTES.policy(it, around))),
    ...values.ruleGroups.flatMap((it) => told(`rule group ${it.name}`, NOTES.rule_group(it, around))),
  ]
}
