/**
 * USE CASES: anchors, applications, policies and groups are put, removed, or applied all at once. What two applications would both answer
 * is refused, for a request must have one policy, and so is an EST label of two groups. Changes are made one after the other, so that two
 * that fit alone cannot collide together.
 */

import type { Application } from '#fleet/access.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import { FIRST_GROUP, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { readPathPattern } from '#policy/access.ts'
import type { AccessKind, AccessValue, Registry, Revisioned } from '#registry/registry.ts'
import type { Fleet } from '#wire/rest.ts'
import { readAnchor, readApplication, readPolicy } from './access-objects.ts'
import { readGroup } from './group-objects.ts'
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

/** What an application answers, one text for each thing that only one may: paths as the gateway reads them, not as they are spelt. */
const claimsOf = ({ hostnames, https, mqtt }: Application): readonly string[] => {
  const pattern = https === undefined ? undefined : readPathPattern(https.path)
  return hostnames.flatMap((hostname) => [
    ...(pattern === undefined
      ? []
      : [`https://${hostname}${pattern.path}${pattern.kind === 'prefix' ? '*' : ''}`]),
    ...(mqtt === undefined ? [] : [`mqtts://${hostname}`]),
  ])
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
  if (!found) throw new FleetError('not_found', `no such ${kind}`)
}

const namesOnce = (where: string, things: readonly { readonly name: string }[]): void => {
  const names = things.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) < at)
  if (twice !== undefined) throw new FleetError('bad_request', `${where}: ${twice} is there twice`)
}

/** A refusal inside a big document must say where. */
const within = <T>(where: string, read: () => T): T => {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FleetError)) throw error
    throw new FleetError(error.code, `${where}: ${error.detail}`, { cause: error })
  }
}

/**
 * All of it takes effect, or none.
 * @throws FleetError: what is wrong and where; `conflict`, `not_found`, `registry_unavailable`
 */
export const applyFleet = async (deps: AccessDeps, fleet: Fleet, actor: Actor): Promise<void> => {
  const now = deps.clock()
  const { anchors = [], applications = [], policies = [], groups = [] } = fleet
  namesOnce('anchors', anchors)
  namesOnce('applications', applications)
  namesOnce('policies', policies)
  namesOnce('groups', groups)
  const values = {
    anchors: anchors.map((body) => within(`anchor ${body.name}`, () => readAnchor(body.name, body, now))),
    applications: applications.map((body) =>
      within(`application ${body.name}`, () => readApplication(body.name, body)),
    ),
    policies: policies.map((body) => within(`policy ${body.name}`, () => readPolicy(body.name, body))),
    groups: groups.map((body) =>
      within(`group ${body.name}`, () => readGroup(body.name, body, { ...deps, now })),
    ),
  }
  await deps.serially(async () => {
    const names = policyNames(deps)
    for (const { name } of values.policies) names.add(name)
    checkApplications(deps, values.applications, names)
    checkLabels(deps, values.groups)
    await deps.registry.applyAccess(values, now, actor)
  })
}
