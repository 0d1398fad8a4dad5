/**
 * A snapshot of applications and policies, compiled once per version into what a door asks per request: which application is
 * this, and which policy lets the caller in. Default deny. Not identity, and not MQTT topics: admission.ts, topics.ts.
 *
 * Fails closed on what it cannot read: a broken path closes its hostname, an unknown selector never includes and always excludes.
 */

import type { AccessSnapshot, Application, Policy, Rule } from '#fleet/access.ts'
import { canonicalTarget } from './target.ts'

/** What rules are about: the caller's certificate, already found good. */
export type Subject = { readonly commonName: string | undefined }

/** `prefix` ends in `/` and covers what begins with it; an exact path covers itself. Both in decoded form. */
export type PathPattern = { readonly kind: 'exact' | 'prefix'; readonly path: string }

type CompiledPolicy = { readonly name: string; readonly admits: (subject: Subject) => boolean }
export type CompiledApplication = {
  readonly application: Application
  readonly policies: readonly CompiledPolicy[]
}
/** `claimed` undefined: two applications claim the very same place, so that nobody gets it. */
type Place = PathPattern & { readonly claimed: CompiledApplication | undefined }
type HostAccess = {
  /** exact before prefix, longer before shorter: the first that covers is the most specific */
  readonly places: readonly Place[]
  readonly mqtt: CompiledApplication | undefined
  readonly closed: boolean
}

export type Access = {
  readonly version: number
  readonly hosts: ReadonlyMap<string, HostAccess>
  /** hostnames with an anchor or an application: the only ones that exist to a stranger */
  readonly known: ReadonlySet<string>
  /** what an operator should hear about, once per version */
  readonly problems: readonly string[]
}

/**
 * `/*` everything; `/alpha/*` what is below `/alpha/`, not `/alpha` itself; `/alpha` only itself. No other wildcard.
 * @returns undefined when the text is none of these
 */
export const readPathPattern = (text: string): PathPattern | undefined => {
  const kind = text.endsWith('/*') ? 'prefix' : 'exact'
  const canonical = canonicalTarget(kind === 'prefix' ? text.slice(0, -1) : text)
  if (!canonical.ok || canonical.query !== '' || canonical.decoded !== canonical.plain) return undefined
  if (canonical.decoded.includes('*')) return undefined
  return { kind, path: canonical.decoded }
}

const SELECTORS: Readonly<Record<string, (rule: never) => (subject: Subject) => boolean>> = {
  // "Valid Certificate": whoever is judged here has one
  certificate: () => () => true,
  common_name: (rule: Extract<Rule, { common_name: unknown }>) => {
    const wanted = rule.common_name.common_name
    return ({ commonName }) => commonName !== undefined && commonName === wanted
  },
}

/** undefined: not a selector of this release. */
const compileRule = (rule: Rule): ((subject: Subject) => boolean) | undefined => {
  const keys = Object.keys(rule)
  const key = keys[0]
  if (keys.length !== 1 || key === undefined || !Object.hasOwn(SELECTORS, key)) return undefined
  return SELECTORS[key]?.(rule as never)
}

const never = (): boolean => false

const compilePolicy = (policy: Policy, problems: string[]): CompiledPolicy => {
  const all = [...policy.include, ...policy.require, ...policy.exclude]
  if (policy.decision !== 'non_identity' || all.some((rule) => compileRule(rule) === undefined)) {
    problems.push(`policy "${policy.name}" holds something that this release cannot judge: it admits nobody`)
    return { name: policy.name, admits: never }
  }
  const compile = (rules: readonly Rule[]) => rules.map((rule) => compileRule(rule) ?? never)
  const [include, require, exclude] = [
    compile(policy.include),
    compile(policy.require),
    compile(policy.exclude),
  ]
  return {
    name: policy.name,
    admits: (subject) =>
      include.some((rule) => rule(subject)) &&
      require.every((rule) => rule(subject)) &&
      !exclude.some((rule) => rule(subject)),
  }
}

const bySpecificity = (a: Place, b: Place): number =>
  a.kind === b.kind ? b.path.length - a.path.length : a.kind === 'exact' ? -1 : 1

type Draft = { places: Place[]; mqtt: CompiledApplication[]; closed: boolean }

export const compileAccess = (snapshot: AccessSnapshot): Access => {
  const problems: string[] = []
  const policies = new Map(snapshot.policies.map((policy) => [policy.name, compilePolicy(policy, problems)]))
  const drafts = new Map<string, Draft>()
  const draftOf = (hostname: string): Draft => {
    const found = drafts.get(hostname) ?? { places: [], mqtt: [], closed: false }
    drafts.set(hostname, found)
    return found
  }

  for (const application of snapshot.applications) {
    const compiled: CompiledApplication = {
      application,
      policies: application.policies.flatMap((name) => policies.get(name) ?? []),
    }
    const pattern = application.https === undefined ? undefined : readPathPattern(application.https.path)
    for (const hostname of new Set(application.hostnames.map((name) => name.toLowerCase()))) {
      const draft = draftOf(hostname)
      if (application.mqtt !== undefined) draft.mqtt.push(compiled)
      if (application.https === undefined) continue
      if (pattern === undefined) {
        problems.push(
          `application "${application.name}" has a path that cannot be read: ${hostname} is closed`,
        )
        draft.closed = true
        continue
      }
      const rival = draft.places.findIndex((at) => at.kind === pattern.kind && at.path === pattern.path)
      if (rival === -1) draft.places.push({ ...pattern, claimed: compiled })
      else {
        problems.push(`more than one application claims ${hostname}${application.https.path}: nobody gets it`)
        draft.places[rival] = { ...pattern, claimed: undefined }
      }
    }
  }

  const hosts = new Map<string, HostAccess>()
  for (const [hostname, draft] of drafts) {
    if (draft.mqtt.length > 1)
      problems.push(`more than one application claims MQTT on ${hostname}: nobody gets it`)
    hosts.set(hostname, {
      places: draft.places.sort(bySpecificity),
      mqtt: draft.mqtt.length === 1 ? draft.mqtt[0] : undefined,
      closed: draft.closed,
    })
  }
  const anchored = snapshot.anchors.flatMap(({ hostnames }) => hostnames.map((name) => name.toLowerCase()))
  return { version: snapshot.version, hosts, known: new Set([...hosts.keys(), ...anchored]), problems }
}

/** @param path decoded. The most specific application only: what it does not allow, a wider one does not either. */
export const findHttps = (access: Access, host: string, path: string): CompiledApplication | undefined => {
  const found = access.hosts.get(host)
  if (found === undefined || found.closed) return undefined
  return found.places.find((at) => (at.kind === 'exact' ? path === at.path : path.startsWith(at.path)))
    ?.claimed
}

export const findMqtt = (access: Access, host: string): CompiledApplication | undefined =>
  access.hosts.get(host)?.mqtt

/** @returns the name of the first policy that lets `subject` in */
export const admittingPolicy = (compiled: CompiledApplication, subject: Subject): string | undefined =>
  compiled.policies.find((policy) => policy.admits(subject))?.name
